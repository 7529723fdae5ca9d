"""Runs a command inside a running container, from the host: in its namespaces and as its user.

The process stays in the caller's session and on its terminal, so that shells and Ctrl-C work. Must run in a process without threads.
Reference: nsenter(1), setns(2).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from node import namespaces

NOT_FOUND = 127
NOT_STARTED = 126


def run(pid_1: int, spec: dict[str, Any], argv: Sequence[str], as_root: bool) -> int:
    """Runs `argv` beside the container process `spec["join"]` of the mesh whose pid 1 is `pid_1`; returns its exit status.

    Raises OSError when the namespaces cannot be entered.
    """
    _enter(pid_1, int(spec["join"]))
    child = os.fork()
    if child == 0:
        _become(spec, argv, as_root)
    # The terminal sends these to the command as well; it decides, and we report how it ended.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _enter(pid_1: int, container: int) -> None:
    """The user namespace first, for the right to enter the others; mounts last, because /proc is found through them."""
    outside = Path(f"/proc/{pid_1}/ns")
    inside = Path(f"/proc/{pid_1}/root/proc/{container}/ns")  # the mesh's own view of its processes
    if (outside / "user").stat().st_ino == Path("/proc/self/ns/user").stat().st_ino:
        paths = []
    else:
        paths = [outside / "user"]
    paths += [outside / "ipc", outside / "pid", inside / "net", inside / "uts", inside / "mnt"]
    fds = [os.open(path, os.O_RDONLY) for path in paths]
    for fd in fds:
        namespaces.setns(fd)
        os.close(fd)


def _become(spec: dict[str, Any], argv: Sequence[str], as_root: bool) -> None:
    """Never returns."""
    try:
        uid, gid, groups = (0, 0, []) if as_root else (spec["uid"], spec["gid"], spec["groups"])
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        os.chdir(spec["directory"])
        env = dict(spec["env"])
        if "TERM" in os.environ:
            env["TERM"] = os.environ["TERM"]
        os.execvpe(argv[0], list(argv), env)  # noqa: S606 - the whole purpose
    except FileNotFoundError:
        os.write(2, f"{argv[0]}: not found\n".encode())
        os._exit(NOT_FOUND)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(NOT_STARTED)
