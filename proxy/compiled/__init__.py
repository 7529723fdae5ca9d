"""Whether the request path runs from its sources or from what mypyc made of them: the same modules, by another loader.

`python -m proxy.compiled` (`make compile`) compiles the modules of `modules.py` into one library in a directory beside this file, one for
each interpreter, with a manifest of the sidecar's sources as they were. They are used only while every one of these is unchanged;
after any edit all of them run from source again, so that what runs is always what is written.
`GLASSMESH_COMPILED=0` in the environment: never; `=1`: or else do not start.
Reference: PEP 489, "Multiple modules in one library".
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Sequence
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import source_hash, spec_from_file_location
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DIRECTORY = Path(__file__).parent / str(sys.implementation.cache_tag)
MANIFEST = "manifest.json"
GROUP = "glassmesh_request_path"
LIBRARY = f"{GROUP}__mypyc"  # as mypyc names the module of what a group has in common

state = "from source"
"""How this process runs its request path, in words."""


class Unusable(Exception):
    """Why the compiled modules are not used."""


def source_of(module: str, root: Path = ROOT) -> Path:
    return root.joinpath(*module.split(".")).with_suffix(".py")


def digest(source: Path) -> str:
    """Of a file's content; empty for one that is not there."""
    try:
        return source_hash(source.read_bytes()).hex()
    except FileNotFoundError:
        return ""


def load_manifest(directory: Path = DIRECTORY, root: Path = ROOT) -> tuple[str, list[str]]:
    """The library, and the modules in it. Raises Unusable where there is none, or a source has changed since."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise Unusable("not compiled") from None
    for source, wanted in manifest["sources"].items():
        if digest(root / source) != wanted:
            raise Unusable(f"{source} has changed since compiling")
    return str(directory / manifest["library"]), manifest["modules"]


def entry_name(module: str) -> str:
    """What the library's `PyInit_…` of a module is called: several have the same last name."""
    return module.replace(".", "__")


class CompiledLoader(ExtensionFileLoader):
    """Loads a module from the library that it shares with the others."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Python looks for the entry of the last part of a spec's name."""
        if spec.name != LIBRARY:
            import_module(LIBRARY)  # has what they have in common
        entry = entry_name(spec.name)
        module = super().create_module(ModuleSpec(entry, self, origin=spec.origin))
        sys.modules.pop(entry, None)
        return module


class CompiledFinder:
    """Finds `modules`, ahead of their sources, in a library; a `sys.meta_path` finder."""

    def __init__(self, library: str, modules: Collection[str]) -> None:
        self._library = library
        self._modules = {LIBRARY, *modules}

    def find_spec(
        self, name: str, _: Sequence[str] | None = None, __: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self._modules:
            return None
        return spec_from_file_location(name, self._library, loader=CompiledLoader(name, self._library))


def use() -> None:
    """Take the compiled modules from here on, if there are any that are up to date. Raises ImportError if they are insisted on."""
    global state
    wish = os.environ.get("GLASSMESH_COMPILED", "")
    if wish == "0":
        return
    try:
        library, modules = load_manifest()
    except Unusable as reason:
        if wish == "1":
            raise ImportError(f"GLASSMESH_COMPILED=1, but {reason}: run `make compile`") from None
        state = f"from source ({reason})"
        return
    sys.meta_path.insert(0, CompiledFinder(library, modules))
    state = "compiled"
