"""`glassmesh demo`, end to end: all it tells is true, what it suggests works, and it leaves nothing however it ends."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.netns

COMMAND = [sys.executable, "-c", "from cli.main import main; main()", "demo", "--gateway-port", "0"]
PROJECT = Path(__file__).parents[2]
SECONDS = 90


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT)}


@contextlib.contextmanager
def demo(directory: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """A demo in a directory of its own; ended by SIGINT at the latest."""
    with subprocess.Popen(
        [*COMMAND, *flags],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=SECONDS)


def assert_nothing_left(directory: Path) -> None:
    assert list(directory.iterdir()) == []
    commands = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(process.read_bytes())
    assert not [command for command in commands if os.fsencode(directory) in command]


def test_once_ends_by_itself_and_all_of_it_is_true(tmp_path: Path) -> None:
    with demo(tmp_path, "--once") as process:
        told, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, told
    for words in (
        "7 pods in",
        "→ 200 in",
        "REDIRECT to 15001",
        "GET /details/0 HTTP/1.1",
        "17 03 03",
        "spiffe://cluster.local/ns/default/sa/bookinfo-productpage",
        "virtual-service-reviews-90-10.yaml",
        "of 300",
        "✓ everything told was true",
    ):
        assert words in told
    assert "✗" not in told
    assert_nothing_left(tmp_path)


def test_what_it_suggests_works_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    suggested: list[str] = []
    with demo(tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("try next") or (suggested and line.startswith(" ")):
                suggested.append(line.removeprefix("try next").partition("   (")[0].strip())
            if "Ctrl-C ends" in line:
                break
        results = {
            command: subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            for command in suggested
            if shutil.which(command.split()[0])
        }
    assert process.returncode == 0
    assert len(suggested) == 4
    for command, result in results.items():
        assert result.returncode == 0, f"{command}: {result.stderr}"
        assert result.stdout
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupted_while_it_starts(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path) as process:
        api = tmp_path / ".glassmesh/demo/kubeconfig"
        while not api.exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    assert_nothing_left(tmp_path)
