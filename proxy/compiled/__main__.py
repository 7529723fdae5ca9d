"""`python -m proxy.compiled`: compiles the request path with mypyc, for this interpreter.

Needs mypy (of the development packages), a C compiler and Python's headers. What was compiled before is replaced in one step once
everything succeeded; a failure leaves it, and says what is missing. Nothing is done while it is up to date.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from proxy.compiled import DIRECTORY, MANIFEST, ROOT, Unusable, digest, load_manifest, source_of
from proxy.compiled.modules import MODULES

_GROUP = "glassmesh_request_path"  # the one library that holds the code of all of them


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
                extensions = mypycify(
                    [*options, *sources],
                    opt_level="2",
                    debug_level="0",
                    target_dir=f"{work}/c",
                    group_name=_GROUP,
                )
        except SystemExit:
            print(said.getvalue(), file=sys.stderr)
            raise
        distribution = Distribution({"name": "glassmesh", "ext_modules": extensions, "packages": []})
        command = distribution.get_command_obj("build_ext")
        command.build_lib, command.build_temp, command.inplace = str(output), f"{work}/o", False
        command.ensure_finalized()
        command.run()


def digests(root: Path = ROOT) -> dict[str, str]:
    """Of every source: compiled code relies on the types of those that are not compiled, too."""
    return {str(path.relative_to(root)): digest(path) for path in sorted((root / "proxy").rglob("*.py"))}


def write_manifest(output: Path, sources: dict[str, str]) -> None:
    """Note which file holds which module, and beside which sources it may be used."""
    files = {}
    for file in sorted(output.rglob("*.so")):
        name = ".".join(file.relative_to(output).parts).partition(".cpython-")[0]
        files[name] = str(file.relative_to(output))
    absent = [module for module in MODULES if module not in files]
    if absent:
        raise SystemExit(f"not compiled: {', '.join(absent)}")
    (output / MANIFEST).write_text(json.dumps({"sources": sources, "files": files}, indent=1) + "\n")


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
    print(f"compiling {len(MODULES)} modules of the request path, a minute or two …", flush=True)
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
