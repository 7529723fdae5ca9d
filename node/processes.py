"""Starts processes and learns how they end; as pid 1 also reaps every orphan.

Decides nothing about when or what to run. One SIGCHLD handler collects every dead child, so nothing else in this process
may wait for children (no `asyncio.create_subprocess_exec`). Commands read and write memory files, not pipes: no output can block.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Python ignores these; a started program must not inherit that.
_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: its exit status (128 + N for signal N) and everything it wrote."""

    status: int
    output: str


class CommandFailed(Exception):
    """A command the node relies on failed; the text holds command and output."""


class Child:
    """A started process. `status` is None until it ended, then its exit status or 128 + signal number."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self._ended = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Child {self.pid} {'running' if self.status is None else f'ended {self.status}'}>"

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.status is not None
        return self.status

    def signal_group(self, number: int) -> None:
        """Signals the process and its group (it was started as a session of its own)."""
        if self.status is None:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                pass  # it ended; the reaper will say so

    def ended(self, status: int) -> None:
        self.status = status
        self._ended.set()


class Processes:
    """Every child of this process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._children: dict[int, Child] = {}
        self._loop = loop
        loop.add_signal_handler(signal.SIGCHLD, self._reap)

    def __repr__(self) -> str:
        return f"<Processes {sorted(self._children)}>"

    def close(self) -> None:
        self._loop.remove_signal_handler(signal.SIGCHLD)

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], fds: Mapping[int, int]) -> Child:
        """Starts a program in a session of its own; `fds` maps descriptors of the child to our own. Raises OSError."""
        # Through high numbers first, so that no copy overwrites a descriptor still to be copied.
        actions: list[tuple[int, int, int]] = []
        for index, ours in enumerate(fds.values()):
            actions.append((os.POSIX_SPAWN_DUP2, ours, 200 + index))
        for index, theirs in enumerate(fds):
            actions.append((os.POSIX_SPAWN_DUP2, 200 + index, theirs))
        closes = [(os.POSIX_SPAWN_CLOSE, 200 + index) for index in range(len(fds))]
        pid = os.posix_spawnp(
            argv[0],
            list(argv),
            env,
            file_actions=[*actions, *closes],
            setsid=True,
            setsigdef=_DEFAULT_SIGNALS,
        )
        child = self._children[pid] = Child(pid)
        return child

    async def run(
        self,
        argv: Sequence[str],
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        seconds: float = 20,
        fds: Mapping[int, int] | None = None,
    ) -> Result:
        """Runs a short command to its end; after `seconds` it is killed and counts as ended by SIGKILL."""
        source, sink = os.memfd_create("stdin"), os.memfd_create("output")
        try:
            os.write(source, stdin.encode())
            os.lseek(source, 0, os.SEEK_SET)
            try:
                child = self.spawn(
                    argv, os.environ if env is None else env, {0: source, 1: sink, 2: sink} | dict(fds or {})
                )
            except OSError as error:
                return Result(127, f"{argv[0]}: {error.strerror}")
            try:
                status = await asyncio.wait_for(child.wait(), seconds)
            except TimeoutError:
                child.signal_group(signal.SIGKILL)
                status = await child.wait()
            size = os.lseek(sink, 0, os.SEEK_END)
            return Result(status, os.pread(sink, size, 0).decode(errors="replace"))
        finally:
            os.close(source)
            os.close(sink)

    async def check(self, argv: Sequence[str], stdin: str = "") -> str:
        """Runs a command that must succeed; raises CommandFailed."""
        result = await self.run(argv, stdin)
        if result.status != 0:
            raise CommandFailed(
                f"{' '.join(argv)}: {result.output.strip() or f'exit status {result.status}'}"
            )
        return result.output

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None:
                code = os.waitstatus_to_exitcode(status)
                child.ended(code if code >= 0 else 128 - code)
