"""The command as a user meets it: interrupted, it leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.peers import PEERS, envoy
from bench.sidecars import ROOT


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.envoy
@pytest.mark.skipif(envoy.binary() is None, reason="no envoy binary")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_no_file_and_no_result(tmp_path: Path, number: int) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    output = tmp_path / "result.json"
    with subprocess.Popen(
        [sys.executable, "-m", "bench", "--quick", "--peers", "envoy", "--output", str(output)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as run:
        while len(_children_of(run.pid)) < 5:  # app, xDS, two sidecars, generator
            assert run.poll() is None
        children = _children_of(run.pid)
        run.send_signal(number)
        text, _ = run.communicate(timeout=20)
    assert run.returncode == 130
    assert b"nothing is left running" in text
    # One that was being started when the signal came dies with its parent, an instant later.
    end = time.monotonic() + 5
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert list(temporary.iterdir()) == []
    assert not output.exists()


def test_every_peer_has_a_name_of_its_own() -> None:
    assert len({peer.name for peer in PEERS}) == len(PEERS)
