"""Children end with the run, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.children import ChildDied, Children, wait_until

_SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
_STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)",
]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_leaving_the_block_ends_every_child(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        pids = [children.start(name, _SLEEP).pid for name in ("a", "b")]
    assert not any(map(alive, pids))


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("stubborn", _STUBBORN)
        wait_until("it ignores SIGTERM", lambda: "ready" in child.tail(), [child])
        children.stop(child, grace_s=0.05)
        assert not alive(child.pid)


def test_a_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from bench.children import Children\n"
        f"c = Children(Path({str(tmp_path)!r})).start('x', {_SLEEP!r}); print(c.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while alive(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_waiting_for_a_child_that_died_says_what_it_wrote(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("loud", [sys.executable, "-c", "raise SystemExit('no such file')"])
        with pytest.raises(ChildDied, match="no such file"):
            wait_until("never", lambda: False, [child], timeout_s=10)


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        child = children.start("quiet", _SLEEP)
        with pytest.raises(TimeoutError, match="the impossible"):
            wait_until("the impossible", lambda: False, [child], timeout_s=0.05)


def test_a_child_is_pinned_and_its_parent_is_not(tmp_path: Path) -> None:
    ours = os.sched_getaffinity(0)
    one = {min(ours)}
    with Children(tmp_path) as children:
        child = children.start("pinned", _SLEEP, cpus=one)
        assert os.sched_getaffinity(child.pid) == one
    assert os.sched_getaffinity(0) == ours
