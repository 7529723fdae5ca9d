"""Log files: tails, following, rotation, the run before."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import log_files
from node.log_files import LogFiles, read, tail_offset


@given(
    lines=st.lists(st.text(alphabet="ab", max_size=5), max_size=30),
    tail=st.integers(0, 40),
    finished=st.booleans(),
)
def test_tail_is_the_last_lines(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], tail: int, finished: bool
) -> None:
    path = tmp_path_factory.mktemp("log") / "x.log"
    text = "".join(f"{line}\n" for line in lines) + ("" if finished else "end")
    path.write_text(text)
    everything = text.splitlines(keepends=True)
    offset = tail_offset(path, tail)
    assert text[offset:] == "".join(
        everything[len(everything) - tail :] if 0 < tail < len(everything) else everything if tail else []
    )


def test_tail_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "CHUNK", 7)
    path = tmp_path / "x.log"
    path.write_text("".join(f"line {n}\n" for n in range(50)))
    assert path.read_text()[tail_offset(path, 3) :] == "line 47\nline 48\nline 49\n"


async def collect(path: Path, into: list[bytes], tail: int | None) -> None:
    async for block in read(path, tail, True):
        into.append(block)


async def until(condition: object) -> None:
    async with asyncio.timeout(5):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_follow_across_restart_rotation_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_files, "POLL_SECONDS", 0.01)
    logs, seen = LogFiles(tmp_path), []
    first = logs.begin("ns", "pod", "c")
    os.write(first, b"one\ntwo\n")
    path = logs.path("ns", "pod", "c")
    task = asyncio.create_task(collect(path, seen, 1))
    await until(lambda: b"".join(seen) == b"two\n")
    os.write(first, b"three\n")
    await until(lambda: b"".join(seen).endswith(b"three\n"))
    second = logs.begin("ns", "pod", "c")
    os.write(second, b"again\n")
    await until(lambda: b"".join(seen).endswith(b"three\nagain\n"))
    assert logs.path("ns", "pod", "c", previous=True).read_text() == "one\ntwo\nthree\n"
    os.close(first)
    os.close(second)
    logs.remove_pod("ns", "pod")
    await asyncio.wait_for(task, 5)


def test_rotation_keeps_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_files, "ROTATE_BYTES", 10)
    logs = LogFiles(tmp_path)
    fd = logs.begin("ns", "pod", "c")
    os.write(fd, b"0123456789abc\n")
    logs.rotate()
    os.write(fd, b"new\n")
    os.close(fd)
    path = logs.path("ns", "pod", "c")
    assert path.read_text() == "new\n"
    assert path.with_suffix(".log.1").read_text() == "0123456789abc\n"
