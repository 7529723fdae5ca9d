"""Which modules come compiled: all or none, and never of a source that has changed."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import proxy
from proxy import compiled
from proxy.compiled import LIBRARY, CompiledFinder, CompiledLoader, Unusable, entry_name, load_manifest
from proxy.compiled import __main__ as command
from proxy.compiled.modules import MODULES


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """A tree of two sources and what was compiled of them: (directory, root)."""
    root, directory = tmp_path / "root", tmp_path / "made"
    (root / "a").mkdir(parents=True)
    directory.mkdir()
    for name in ("x", "y"):
        (root / "a" / f"{name}.py").write_text(f"name = {name!r}\n")
    sources = {f"a/{name}.py": compiled.digest(root / "a" / f"{name}.py") for name in ("x", "y")}
    manifest = {"library": "all.so", "modules": ["a.x", "a.y"], "sources": sources}
    (directory / compiled.MANIFEST).write_text(json.dumps(manifest))
    return directory, root


def test_what_is_in_the_library(made: tuple[Path, Path]) -> None:
    directory, root = made
    assert load_manifest(directory, root) == (str(directory / "all.so"), ["a.x", "a.y"])


def test_one_changed_source_makes_all_unusable(made: tuple[Path, Path]) -> None:
    directory, root = made
    (root / "a" / "y.py").write_text("name = 'z'\n")
    with pytest.raises(Unusable, match=r"a/y\.py has changed since compiling"):
        load_manifest(directory, root)


def test_so_does_one_that_is_gone(made: tuple[Path, Path]) -> None:
    directory, root = made
    (root / "a" / "x.py").unlink()
    with pytest.raises(Unusable, match=r"a/x\.py has changed"):
        load_manifest(directory, root)


def test_nothing_was_compiled(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="not compiled"):
        load_manifest(tmp_path, tmp_path)


def test_the_finder_knows_its_modules_only() -> None:
    finder = CompiledFinder("/nowhere/all.so", ["a.x"])
    for name in ("a.x", LIBRARY):
        spec = finder.find_spec(name)
        assert spec is not None
        assert isinstance(spec.loader, CompiledLoader)
        assert spec.origin == "/nowhere/all.so"
    assert finder.find_spec("a.y") is None


ENTRY = """
static struct PyModuleDef {entry} = {{PyModuleDef_HEAD_INIT, "{name}", NULL, -1, NULL}};
PyMODINIT_FUNC PyInit_{entry}(void) {{ return PyModule_Create(&{entry}); }}
"""


def test_modules_of_one_library_may_have_the_same_last_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command.missing() == ""
    names = [LIBRARY, "shelf.a.book", "shelf.b.book"]
    entries = [ENTRY.format(entry=entry_name(name), name=name) for name in names]
    (tmp_path / "all.c").write_text("\n".join(["#include <Python.h>", *entries]))
    for package in ("shelf", "shelf/a", "shelf/b"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    library = str(tmp_path / "all.so")
    compile_ = ["cc", "-shared", "-fPIC", f"-I{sysconfig.get_path('include')}", "-o", library]
    subprocess.run([*compile_, str(tmp_path / "all.c")], check=True)

    monkeypatch.setattr(sys, "meta_path", [CompiledFinder(library, names[1:]), *sys.meta_path])
    monkeypatch.syspath_prepend(str(tmp_path))
    before = dict(sys.modules)
    try:
        books = [importlib.import_module(name) for name in names[1:]]
        assert [book.__name__ for book in books] == names[1:]
        assert [book.__spec__ and book.__spec__.name for book in books] == names[1:]
        assert {*sys.modules} - {*before} == {*names, "shelf", "shelf.a", "shelf.b"}
    finally:
        for name in {*sys.modules} - {*before}:
            del sys.modules[name]


def test_a_source_that_changes_while_it_is_compiled_is_not_taken_for_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "proxy" / "a.py"
    source.parent.mkdir()
    source.write_text("before")
    directory = source.parent / "compiled"
    directory.mkdir()

    def build(output: Path) -> None:
        output.mkdir()
        (output / f"{LIBRARY}.cpython-311.so").touch()
        source.write_text("after")

    for name, value in {"ROOT": tmp_path, "DIRECTORY": directory / "made", "build": build}.items():
        monkeypatch.setattr(command, name, value)
    monkeypatch.setattr(command, "load_manifest", partial(load_manifest, directory / "made", tmp_path))
    monkeypatch.setattr(command.digests, "__defaults__", (tmp_path,))
    monkeypatch.setattr(command, "missing", lambda: "")
    monkeypatch.chdir(tmp_path)
    assert command.main() == 0
    with pytest.raises(Unusable, match=r"a\.py has changed since compiling"):
        command.load_manifest()


def _state(wish: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """A new process that takes its compiled modules from `directory`."""
    code = (
        "import os, pathlib; os.environ['GLASSMESH_COMPILED'] = '0'; import proxy.compiled as c\n"
        f"os.environ['GLASSMESH_COMPILED'] = {wish!r}; c.load_manifest.__defaults__ = (pathlib.Path({str(directory)!r}), c.ROOT)\n"
        "c.use(); print(c.state)"
    )
    environment = {**os.environ, "PYTHONPATH": str(compiled.ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


def test_what_the_environment_asks_for(tmp_path: Path) -> None:
    assert _state("0", tmp_path).stdout == "from source\n"
    assert _state("", tmp_path).stdout == "from source (not compiled)\n"
    insisted = _state("1", tmp_path)
    assert insisted.returncode == 1
    assert "GLASSMESH_COMPILED=1, but not compiled: run `make compile`" in insisted.stderr


def test_this_process_runs_the_sources() -> None:
    assert compiled.state == "from source"
    assert not any(isinstance(finder, CompiledFinder) for finder in sys.meta_path)


def _calls_in_slices(source: str) -> list[str]:
    """Bounds of slices that do more than measure."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Slice)
        for part in ast.walk(node)
        if isinstance(part, ast.Call) and ast.unparse(part.func) != "len"
    ]


@pytest.mark.parametrize("module", MODULES)
def test_no_bound_of_a_slice_does_anything(module: str) -> None:
    """mypyc evaluates the bounds of what is neither str, bytes nor list twice: a log line was written twice."""
    assert not _calls_in_slices(compiled.source_of(module).read_text())


def _classes() -> list[type[Any]]:
    found = []
    for info in pkgutil.walk_packages(proxy.__path__, "proxy."):
        if not info.name.endswith("__main__"):
            module = importlib.import_module(info.name)
            found += [
                one for _, one in inspect.getmembers(module, inspect.isclass) if one.__module__ == info.name
            ]
    return found


def test_what_derives_from_a_compiled_class_is_compiled() -> None:
    left = {
        f"{one.__module__}.{one.__name__}"
        for one in _classes()
        if one.__module__ not in MODULES and any(base.__module__ in MODULES for base in one.__bases__)
    }
    assert not left, "add their modules to proxy/compiled/modules.py"
