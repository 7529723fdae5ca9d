"""`python -m proxy.compiled`: compiles the request path with mypyc, for this interpreter.

Needs mypy (of the development packages), a C compiler and Python's headers. What was compiled before is replaced in one step once
everything succeeded; a failure leaves it, and says what is missing. Nothing is done while it is up to date.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from proxy.compiled import (
    DIRECTORY,
    GROUP,
    LIBRARY,
    MANIFEST,
    ROOT,
    Unusable,
    digest,
    entry_name,
    load_manifest,
    source_of,
)
from proxy.compiled.modules import MODULES


def missing() -> str:
    """What compiling needs and is not here; empty: nothing."""
    if shutil.which(os.environ.get("CC", "cc")) is None:
        return "a C compiler (Debian, Ubuntu: apt-get install gcc)"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers (Debian, Ubuntu: apt-get install python3-dev)"
    try:
        import mypyc  # noqa: F401
    except ImportError:
        return "mypy (pip install 'glassmesh[dev]')"
    return ""


def build(output: Path) -> None:
    """Compile into `output`; SystemExit with mypyc's or the compiler's own words on failure."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    sources = [str(source_of(module).relative_to(ROOT)) for module in MODULES]
    with tempfile.TemporaryDirectory(prefix="glassmesh-compile-") as work:
        options = [
            "--config-file=",
            f"--cache-dir={work}/cache",
            "--ignore-missing-imports",
            "--no-color-output",
        ]
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):  # it warns of generators that are made into lists
                library, *_ = mypycify(
                    [*options, *sources],
                    opt_level="2",
                    debug_level="0",
                    target_dir=f"{work}/c",
                    group_name=GROUP,
                )
        except SystemExit:
            print(said.getvalue(), file=sys.stderr)
            raise
        # mypyc would make a library for each module besides, which only calls this one: 20 KB resident each.
        library.sources.append(_write_entries(Path(work)))
        # Nothing but the entries is called from outside.
        library.extra_compile_args += ["-fvisibility=hidden"]
        library.extra_link_args += _packed_relocations()
        distribution = Distribution({"name": "glassmesh", "ext_modules": [library], "packages": []})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp, command.inplace = str(output), f"{work}/o", False
        command.ensure_finalized()
        command.run()


def _write_entries(directory: Path) -> str:
    """The C file of the functions by which Python makes a module, each by a name of its own."""
    from mypyc.namegen import exported_name

    lines = ["#include <Python.h>"]
    for module in MODULES:
        makes = f"CPyInit_{exported_name(module)}"
        lines.append(f"extern PyObject *{makes}(void);")
        lines.append(f"PyMODINIT_FUNC PyInit_{entry_name(module)}(void) {{ return {makes}(); }}")
    file = directory / "entries.c"
    file.write_text("\n".join([*lines, ""]))
    return str(file)


def _packed_relocations() -> list[str]:
    """15,000 of 24 bytes in a hundredth of that, where the C library can read it: glibc since 2.36."""
    name, version = platform.libc_ver()
    can = name == "glibc" and [int(part) for part in version.split(".")] >= [2, 36]
    return ["-Wl,-z,pack-relative-relocs"] if can else []


def digests(root: Path = ROOT) -> dict[str, str]:
    """Of every source: compiled code relies on the types of those that are not compiled, too."""
    return {str(path.relative_to(root)): digest(path) for path in sorted((root / "proxy").rglob("*.py"))}


def write_manifest(output: Path, sources: dict[str, str]) -> None:
    """Note what is in the library, and beside which sources it may be used."""
    [library] = output.glob(f"{LIBRARY}.*.so")
    made = {"library": library.name, "modules": MODULES, "sources": sources}
    (output / MANIFEST).write_text(json.dumps(made, indent=1) + "\n")


def main() -> int:
    try:
        load_manifest()
    except Unusable:
        pass
    else:
        print("the request path is compiled already")
        return 0
    lacking = missing()
    if lacking:
        print(f"compiling needs {lacking}; without it all runs from source", file=sys.stderr)
        return 1
    os.chdir(ROOT)  # mypy takes module names from here
    print(f"compiling {len(MODULES)} modules of the request path, a few minutes …", flush=True)
    with tempfile.TemporaryDirectory(prefix=".compiling-", dir=DIRECTORY.parent) as directory:
        output = Path(directory) / "made"
        sources = digests()  # what changes from here on was not compiled
        build(output)
        write_manifest(output, sources)
        shutil.rmtree(DIRECTORY, ignore_errors=True)
        output.rename(DIRECTORY)
    print(f"compiled into {DIRECTORY.relative_to(ROOT)}; GLASSMESH_COMPILED=0 runs from source all the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
