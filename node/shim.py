"""Becomes a container: joins the pod's network, mounts what the container sees, drops to its user, runs its program.

Started by the node as a process of its own, with the container's description as JSON on descriptor 3; a failure is written
to descriptor 4, which closes by itself when the program starts. It decides nothing: the order of the steps is the content. Imports
little, because it runs once per container start. Reference: the runtime's part of starting a container (runc's init).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib is slow to import

from node import namespaces

SPEC_FD = 3
ERROR_FD = 4
ORIGINALS = "/run/glassmesh/originals"
START_ERROR = 128  # the exit code Kubernetes reports when a container could not be started


def main() -> None:
    os.set_inheritable(ERROR_FD, False)
    try:
        with os.fdopen(SPEC_FD) as file:
            spec = json.load(file)
        become(spec)
    except OSError as error:
        text = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
        os.write(ERROR_FD, text.encode())
        os._exit(START_ERROR)


def become(spec: dict[str, Any]) -> None:
    """Runs the program of `spec`; raises OSError when a step fails, and never returns otherwise."""
    if "join" in spec:
        join(spec["join"])
    else:
        enter_pod(spec["network"], spec["hostname"])
        mount_view(spec["mounts"])
        own_output(spec["uid"], spec["gid"])
    drop_to(spec["uid"], spec["gid"], spec["groups"])
    os.chdir(spec["directory"])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, programs expect it
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606 - the whole purpose


def join(pid: int) -> None:
    """Enters the namespaces of a container that runs; its mounts last, because /proc is found through them."""
    fds = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts", "mnt")]
    for fd in fds:
        namespaces.setns(fd)
        os.close(fd)


def enter_pod(network: str, hostname: str) -> None:
    fd = os.open(network, os.O_RDONLY)
    namespaces.setns(fd, namespaces.NEWNET)
    os.close(fd)
    # Container runtimes let every user bind low ports in the pod's own network.
    write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
    namespaces.unshare(namespaces.NEWNS | namespaces.NEWUTS)
    namespaces.set_hostname(hostname)


def mount_view(mounts: list[dict[str, Any]]) -> None:
    """The host's files read-only, a private /run, /tmp and /dev/shm, and the container's volumes on top."""
    sources = [os.open(mount["source"], os.O_PATH) for mount in mounts]  # the private /run hides them
    originals = os.open(ORIGINALS, os.O_PATH)
    set_read_only("/", True)
    flags = namespaces.MS_NOSUID | namespaces.MS_NODEV
    namespaces.mount("tmpfs", "/run", "tmpfs", flags, "mode=755")
    os.makedirs(ORIGINALS)  # noqa: PTH103
    namespaces.bind(f"/proc/self/fd/{originals}", ORIGINALS)
    kept = {tree: os.open(tree, os.O_PATH) for tree in interpreter_trees() if tree.startswith("/tmp/")}  # noqa: S108
    for directory in ("/tmp", "/dev/shm"):  # noqa: S108
        if os.path.isdir(directory):  # noqa: PTH112
            namespaces.mount("tmpfs", directory, "tmpfs", flags, "mode=1777")
    for tree, fd in kept.items():
        os.makedirs(tree, exist_ok=True)  # noqa: PTH103
        namespaces.bind(f"/proc/self/fd/{fd}", tree)
        os.close(fd)
    for mount, source in zip(mounts, sources, strict=True):
        make_mount_point(mount["target"], mount["directory"])
        namespaces.bind(f"/proc/self/fd/{source}", mount["target"])
        set_read_only(mount["target"], mount["read_only"])
        os.close(source)
    os.close(originals)


def interpreter_trees() -> list[str]:
    """What our own programs are run from; a checkout below /tmp must stay to be seen. Outer trees come first."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    return sorted({os.path.realpath(tree) for tree in (sys.prefix, sys.base_prefix, package)})


def set_read_only(path: str, read_only: bool) -> None:
    try:
        namespaces.set_read_only(path, read_only)
    except OSError:
        pass  # before Linux 5.12: user and group ids alone protect the host's files


def make_mount_point(target: str, directory: bool) -> None:
    """Below /run and /tmp, which are new; elsewhere the node has made it."""
    if os.path.lexists(target):
        return
    os.makedirs(target if directory else os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
    if not directory:
        write(target, "")


def own_output(uid: int, gid: int) -> None:
    """A program may open /dev/stdout by name, which asks for the file's permissions (runc's fixStdioPermissions)."""
    for fd in (1, 2):
        os.fchown(fd, uid, gid)


def drop_to(uid: int, gid: int, groups: list[int]) -> None:
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123
        file.write(text)


if __name__ == "__main__":
    main()
