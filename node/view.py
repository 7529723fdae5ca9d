"""What the file system looks like inside the mesh: the host's own files, and room for what pods mount.

The mesh has no images. Its processes see the host's files through a mount namespace of their own, in which directories
can be given room for mount points that the host does not have (`/etc/istio/proxy`), and in which the few trees every
process must read (the interpreter, this package) stay readable when the host hides them below a closed directory.
Invariant: nothing here creates or changes a file on the host. Reference: mount_namespaces(7).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from node import namespaces

# Where the original of an opened directory is kept. Below the private /run, so nobody outside sees it.
ORIGINALS = Path("/run/glassmesh/originals")

_NOSUID_NODEV = namespaces.MS_NOSUID | namespaces.MS_NODEV


class View:
    """The mesh's file system, as seen by this process and every process it starts."""

    def __init__(self) -> None:
        self._own_devices: set[int] = set()  # file systems mounted here: safe to make directories in

    def __repr__(self) -> str:
        return f"<View of {len(self._own_devices)} own file systems>"

    def make_private(self) -> None:
        """A root of the mesh's own that shows the host's directories, with a new /proc and an empty /run.

        Locks, sockets and named namespaces in /run are the mesh's alone, and pods may mount at names the host's root does not have.
        """
        namespaces.make_private()
        root = Path("/run")  # hidden anyway, so the new root is built there
        entries = [entry for entry in Path("/").iterdir() if entry.name not in ("run", "proc")]
        self._mount_own(root)
        for entry in entries:
            _show(entry, root / entry.name)
        for name in ("run", "proc"):
            (root / name).mkdir()
        # While the host's /proc is still to be seen: without it the kernel refuses a new one to an ordinary user.
        namespaces.mount("proc", str(root / "proc"), "proc", _NOSUID_NODEV | namespaces.MS_NOEXEC)
        namespaces.pivot_root(str(root))
        self._mount_own(Path("/run"))
        ORIGINALS.mkdir(parents=True)
        Path("/run/lock").mkdir(mode=0o777)

    def ensure_mount_point(self, path: Path, directory: bool = True) -> Path:
        """Makes sure that something can be mounted at `path`, opening the deepest directory that exists if need be."""
        path = Path(os.path.realpath(path))
        if path.exists():
            return path
        ancestor = next(parent for parent in path.parents if parent.exists())
        if ancestor.stat().st_dev not in self._own_devices:
            self._open_up(ancestor)
        path.parent.mkdir(parents=True, exist_ok=True)
        if directory:
            path.mkdir(exist_ok=True)
        else:
            path.touch()
        return path

    def reveal(self, trees: Iterable[Path]) -> None:
        """Makes trees readable for every user although a directory above them is closed to others.

        The closed directory (`/root`, a home of mode 700) is replaced by an empty open one that holds the trees alone.
        """
        closed: dict[Path, list[Path]] = {}
        for tree in sorted({Path(os.path.realpath(tree)) for tree in trees}):
            above = closed_ancestor(tree)
            if above is not None:
                closed.setdefault(above, []).append(tree)
        for directory, shown in closed.items():
            self._show_only(directory, shown)

    def _open_up(self, directory: Path) -> None:
        """Replaces a host directory by one of our own whose entries are links to the host's."""
        original = ORIGINALS / str(directory).strip("/").replace("/", "-")
        original.mkdir()
        namespaces.bind(str(directory), str(original))
        self._mount_own(directory)
        for entry in original.iterdir():
            (directory / entry.name).symlink_to(entry.readlink() if entry.is_symlink() else entry)

    def _show_only(self, directory: Path, trees: list[Path]) -> None:
        outermost = [tree for tree in trees if not any(other in tree.parents for other in trees)]
        held = [(tree, os.open(tree, os.O_PATH)) for tree in outermost]
        self._mount_own(directory)
        for tree, fd in held:
            tree.mkdir(parents=True, exist_ok=True)
            namespaces.bind(f"/proc/self/fd/{fd}", str(tree))
            os.close(fd)

    def _mount_own(self, directory: Path) -> None:
        namespaces.mount("tmpfs", str(directory), "tmpfs", _NOSUID_NODEV, "mode=755")
        self._own_devices.add(directory.stat().st_dev)


def _show(entry: Path, target: Path) -> None:
    """One name of the host's root in the new one."""
    if entry.is_symlink():
        target.symlink_to(entry.readlink())
    elif entry.is_dir():
        target.mkdir()
        namespaces.bind(str(entry), str(target))
    else:
        target.touch()
        namespaces.bind(str(entry), str(target))


def closed_ancestor(tree: Path) -> Path | None:
    """The topmost directory above `tree` that others may not search, if there is one."""
    for directory in reversed(tree.parents):
        if not directory.stat().st_mode & 0o001:
            return directory
    return None
