"""Linux namespaces and mounts: the few system calls Python 3.11 has no name for.

Knows nothing of pods or meshes. Every call must be made from a process of one thread: `unshare` and `setns` change the
calling thread alone, and a user namespace can only be entered by a process without other threads.
Reference: unshare(2), setns(2), mount(2), namespaces(7).
"""

from __future__ import annotations

import ctypes
import os

NEWNS = 0x00020000
NEWUTS = 0x04000000
NEWIPC = 0x08000000
NEWUSER = 0x10000000
NEWPID = 0x20000000
NEWNET = 0x40000000

MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000

MNT_DETACH = 0x2

PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    """Moves this thread into new namespaces; raises OSError."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, flags: int = 0) -> None:
    """Moves this thread into the namespace behind `fd` (a `/proc/PID/ns` file, or a pidfd with `flags`)."""
    _check(_libc.setns(fd, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2); raises OSError naming the target."""
    call = (os.fsencode(source), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags))
    _check(_libc.mount(*call, options.encode() or None), f"mount {target}")


def bind(source: str, target: str) -> None:
    """Shows `source`, with what is mounted below it, at `target` too."""
    mount(source, target, flags=MS_BIND | MS_REC)


def pivot_root(new: str) -> None:
    """Makes the mount at `new` the root of this mount namespace and lets go of the old one."""
    os.chdir(new)
    _check(_libc.pivot_root(b".", b"."), f"pivot_root {new}")
    _check(_libc.umount2(b".", MNT_DETACH), "umount the old root")
    os.chdir("/")


def make_private() -> None:
    """No mount made from here on is seen by another mount namespace."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def set_hostname(name: str) -> None:
    encoded = name.encode()[:64]
    _check(_libc.sethostname(encoded, len(encoded)), "sethostname")


def become_subreaper() -> None:
    """Orphans below this process become its children, so that it may wait for them."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


_SYS_MOUNT_SETATTR = 442  # the same on every architecture Linux added it to
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_MOUNT_ATTR_RDONLY = 0x1


def set_read_only(path: str, read_only: bool) -> None:
    """Makes every mount from `path` down read-only, or writable again; raises OSError before Linux 5.12."""
    change = (_MOUNT_ATTR_RDONLY, 0) if read_only else (0, _MOUNT_ATTR_RDONLY)
    attributes = (ctypes.c_uint64 * 4)(*change, 0, 0)
    arguments = (_AT_FDCWD, path.encode(), _AT_RECURSIVE, attributes, ctypes.sizeof(attributes))
    _check(_libc.syscall(_SYS_MOUNT_SETATTR, *arguments), f"mount_setattr {path}")
