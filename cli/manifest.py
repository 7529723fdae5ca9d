"""Manifests from files, directories and standard input: every document with the place it came from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_SUFFIXES = (".yaml", ".yml", ".json")


class Document(NamedTuple):
    """One document, and where it stands, as `bookinfo.yaml (document 3)`."""

    where: str
    object: dict[str, Any]


class BadManifest(Exception):
    """A file that cannot be read, or is no YAML."""


def _files(path: str) -> Iterator[tuple[str, str]]:
    if path == "-":
        yield "STDIN", sys.stdin.read()
        return
    place = Path(path)
    found = sorted(f for f in place.iterdir() if f.suffix in _SUFFIXES) if place.is_dir() else [place]
    for file in found:
        try:
            yield str(file), file.read_text()
        except OSError as exc:
            raise BadManifest(f"{file}: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise BadManifest(f"{file}: {exc}") from exc


def read(paths: tuple[str, ...]) -> Iterator[Document]:
    """Documents in order; a List stands for its items. Raises BadManifest, naming file and line."""
    for path in paths:
        for name, text in _files(path):
            try:
                documents = list(yaml.load_all(text, yaml.CSafeLoader))
            except yaml.YAMLError as exc:
                raise BadManifest(f"{name}: error parsing YAML: {exc}") from exc
            for index, document in enumerate(documents, 1):
                where = f"{name} (document {index})" if len(documents) > 1 else name
                if document is not None:
                    yield from _objects(where, document)


def _objects(where: str, document: Any) -> Iterator[Document]:
    if not isinstance(document, dict):
        raise BadManifest(f"{where}: a manifest is a mapping, this is a {type(document).__name__}")
    if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(where, item)
    else:
        yield Document(where, document)
