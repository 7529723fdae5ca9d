"""Puts the mesh into namespaces of its own: the way from the host's world to pid 1 of the mesh.

Works the same as root and as an ordinary user; an ordinary user gets a user namespace first, whose ids are the user and a
subordinate range. Runs in the `glassmesh up` process, before anything else there starts a thread. Invariant: nothing on the
host but processes comes of it, and when pid 1 ends the kernel ends all of them. Reference: ARCHITECTURE.md, user_namespaces(7).
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from node import namespaces
from node.identity_map import NoSubordinateRange, map_command, subordinate_range

COMPOSE_HINT = "`docker compose up` runs the same mesh without them"


class CannotLaunch(Exception):
    """This machine or user cannot have the namespaces the mesh lives in; the text is one line."""


def launch(argv: Sequence[str], fds: Mapping[int, int], log: Path) -> int:
    """Starts `argv` as pid 1 of a new mesh and returns its pid on the host.

    `fds` maps descriptors of the program to our own; standard output and error go to `log`. Raises CannotLaunch.
    """
    ours, theirs = os.pipe(), os.pipe()  # from the child, to the child
    child = os.fork()
    if child == 0:
        os.close(ours[0])
        os.close(theirs[1])
        _in_child(argv, fds, log, ours[1], theirs[0])
    os.close(ours[1])
    os.close(theirs[0])
    with os.fdopen(ours[0], "rb", 0) as heard, os.fdopen(theirs[1], "wb", 0) as say:
        try:
            if os.geteuid() != 0:
                _expect(heard.read(1), heard)
                _map_ids(child)
                say.write(b"m")
            return int(_expect(heard.read(1), heard))
        finally:
            say.close()
            os.waitpid(child, 0)


def _expect(mark: bytes, heard: object) -> str:
    """`u`: the user namespace is there; `p`: the pid follows; anything else: why not."""
    rest = b"" if mark == b"u" else heard.read()  # type: ignore[attr-defined]
    if mark in (b"u", b"p"):
        return str(rest, "ascii")
    why = rest.decode(errors="replace") or "the child ended at once"
    raise CannotLaunch(f"no namespaces for a mesh here ({why}); {COMPOSE_HINT}")


def _map_ids(child: int) -> None:
    user = pwd.getpwuid(os.getuid()).pw_name
    for tool, path, own in (
        ("newuidmap", "/etc/subuid", os.getuid()),
        ("newgidmap", "/etc/subgid", os.getgid()),
    ):
        if shutil.which(tool) is None:
            raise CannotLaunch(f"{tool} is missing (Debian, Ubuntu: apt-get install uidmap); {COMPOSE_HINT}")
        try:
            ids = subordinate_range(_lines(path), user, os.getuid(), path)
        except NoSubordinateRange as error:
            raise CannotLaunch(f"{error}; {COMPOSE_HINT}") from None
        done = subprocess.run(map_command(tool, child, own, ids), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CannotLaunch(f"{done.stderr.strip() or tool + ' failed'}; {COMPOSE_HINT}")


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _in_child(argv: Sequence[str], fds: Mapping[int, int], log: Path, say: int, hear: int) -> None:
    """Never returns."""
    try:
        os.setsid()  # the terminal's Ctrl-C is for `up` alone, which ends the mesh in order
        if os.geteuid() != 0:
            namespaces.unshare(namespaces.NEWUSER)
            os.write(say, b"u")
            if os.read(hear, 1) != b"m":
                os._exit(1)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            os.setgroups([])
        kinds = (
            namespaces.NEWNET | namespaces.NEWNS | namespaces.NEWPID | namespaces.NEWIPC | namespaces.NEWUTS
        )
        namespaces.unshare(kinds)
        pid = os.fork()
        if pid == 0:
            _become_pid_1(argv, fds, log)
        os.write(say, b"p%d" % pid)
    except OSError as error:
        os.write(say, b"x" + str(error).encode())
    finally:
        os._exit(0)


def _become_pid_1(argv: Sequence[str], fds: Mapping[int, int], log: Path) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    wanted = {0: nothing, 1: output, 2: output, **fds}
    held = {theirs: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for theirs, fd in wanted.items()}
    for theirs, fd in held.items():
        os.dup2(fd, theirs, inheritable=True)
    os.execv(argv[0], list(argv))  # noqa: S606 - becomes the node
