"""Child processes that cannot outlive the run.

Invariant: a child ends with `Children.close()`, and with our own death however it comes (PR_SET_PDEATHSIG). Only
processes started here are ever signalled.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

PR_SET_PDEATHSIG = 1
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
_libc = ctypes.CDLL(None, use_errno=True)


class ChildDied(Exception):
    """A child ended while it was still needed; the message holds the end of what it wrote."""


@contextlib.contextmanager
def _interrupts_later() -> Iterator[None]:
    """Interrupts wait until a child is ours: raised in one of the fork's callbacks they would only be printed.

    Blocking the signals would not do: another thread takes them then, for this one to raise all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python's handlers run in the main thread
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number)) for number in _INTERRUPTS
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for missed in came:
            signal.raise_signal(missed)


def _prepare() -> None:
    """Runs in the child: it dies with its parent, and may open as many files as it is allowed to."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Child:
    """One process with its output in a file of its own."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], output: Path) -> None:
        self.name = name
        self.process = process
        self.output = output

    @property
    def pid(self) -> int:
        return self.process.pid

    def __repr__(self) -> str:
        return f"<Child {self.name} pid={self.pid} exit={self.process.poll()}>"

    def check(self) -> None:
        """Raises ChildDied when the process has ended."""
        if self.process.poll() is not None:
            raise ChildDied(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")

    def tail(self, size: int = 3000) -> str:
        return self.output.read_text(errors="replace")[-size:]


class Children:
    """Starts children, waits until they are ready, and ends them all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._all: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        cpus: set[int] | None = None,
        stdout: int | None = None,
        env: dict[str, str] | None = None,
    ) -> Child:
        """Starts `argv`; pinned to `cpus` from its first instruction, because affinity is inherited."""
        output = self._directory / f"{name}.out"
        ours = os.sched_getaffinity(0)
        try:
            with output.open("ab") as sink, _interrupts_later():
                if cpus:
                    os.sched_setaffinity(0, cpus)
                process = subprocess.Popen(
                    list(argv),
                    stdin=subprocess.DEVNULL,
                    stdout=sink if stdout is None else stdout,
                    stderr=sink,
                    env=None if env is None else {**os.environ, **env},
                    # A terminal's Ctrl-C reaches this process alone, which then ends its children in order.
                    start_new_session=True,
                    preexec_fn=_prepare,
                )
                child = Child(name, process, output)
                self._all.append(child)
        finally:
            os.sched_setaffinity(0, ours)
        return child

    def stop(self, child: Child, grace_s: float = 3.0) -> None:
        """SIGTERM, then SIGKILL after `grace_s`; returns when the process is reaped."""
        if child.process.poll() is None:
            child.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(grace_s)
        if child.process.poll() is None:
            child.process.kill()
            child.process.wait()
        if child.process.stdout is not None:
            child.process.stdout.close()
        if child in self._all:
            self._all.remove(child)

    def close(self) -> None:
        """Ends every child: all are asked first, so their graces run at the same time."""
        for child in self._all:
            if child.process.poll() is None:
                child.process.terminate()
        for child in reversed(self._all.copy()):
            self.stop(child)


def wait_until(
    what: str, ready: Callable[[], bool], children: Sequence[Child], timeout_s: float = 20.0
) -> None:
    """Polls `ready`; raises ChildDied at once when a child ends, TimeoutError with `what` after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not ready():
        for child in children:
            child.check()
        if time.monotonic() > end:
            tails = "\n".join(f"--- {child.name}\n{child.tail()}" for child in children)
            raise TimeoutError(f"{what}: not within {timeout_s:g} s\n{tails}")
        time.sleep(0.02)
