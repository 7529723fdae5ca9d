"""What `glassmesh analyze` looks at: the mesh's objects, and manifests, which stand for what they would change.

An object of a manifest keeps the place of each of its fields, so that a message can say the line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cli.client import Client
from cli.manifest import BadManifest
from control.analysis.message import Message
from control.analysis.run import KINDS
from control.api.document import normalized
from control.resources import KINDS as SERVED
from control.resources.kind import Kind, Object

_SUFFIXES = (".yaml", ".yml", ".json")
_BY_KIND = {kind.kind: kind for kind in KINDS}
Key = tuple[str, str, str]  # kind, namespace, name


class Place(NamedTuple):
    """Where a manifest's object is written."""

    file: str
    node: yaml.Node

    def reference(self, path: str) -> str:
        """`file.yaml:7`, the line of a field, or of the nearest one above it that is there."""
        return f"{self.file}:{_node_at(self.node, path).start_mark.line + 1}"


@dataclass
class Input:
    """Objects by the kind's `resource`, where those of manifests are written, and kinds nothing is known of."""

    objects: dict[str, list[Object]] = field(default_factory=dict)
    places: dict[Key, Place] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def reference(self, message: Message) -> str:
        place = self.places.get((message.kind, message.namespace, message.name))
        return place.reference(message.path) if place else ""


def _node_at(node: yaml.Node, path: str) -> yaml.Node:
    """The node of a path such as `spec.http[0].match`; keys may hold dots, so the longest that fits counts."""
    if isinstance(node, yaml.MappingNode):
        rest = path.removeprefix(".")
        fitting = [
            (key, value)
            for key, value in node.value
            if rest == key.value or rest.startswith((f"{key.value}.", f"{key.value}["))
        ]
        if fitting:
            key, value = max(fitting, key=lambda pair: len(pair[0].value))
            rest = rest[len(key.value) :]
            return _node_at(value, rest) if rest else key
    if isinstance(node, yaml.SequenceNode) and path.startswith("["):
        number, _, rest = path[1:].partition("]")
        if number.isdigit() and int(number) < len(node.value):
            return _node_at(node.value[int(number)], rest)
    return node


def _files(paths: Iterable[str], recursive: bool) -> Iterator[tuple[str, str]]:
    for path in paths:
        if path == "-":
            yield "stdin", sys.stdin.read()
            continue
        place = Path(path)
        inside = place.rglob("*") if recursive else place.glob("*")
        found = sorted(f for f in inside if f.suffix in _SUFFIXES) if place.is_dir() else [place]
        for file in found:
            try:
                yield str(file), file.read_text()
            except (OSError, UnicodeDecodeError) as exc:
                raise BadManifest(f"{file}: {exc.strerror if isinstance(exc, OSError) else exc}") from exc


def _documents(name: str, text: str) -> Iterator[tuple[Any, yaml.Node]]:
    loader = yaml.CSafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # check_node says so
            # As the API gets it: JSON has texts for keys, and no dates.
            document = json.loads(json.dumps(loader.construct_document(node), default=str))
            yield normalized(document), node
    except (yaml.YAMLError, ValueError, TypeError) as exc:
        raise BadManifest(f"{name}: error parsing YAML: {exc}") from exc
    finally:
        loader.dispose()


def _objects(document: Any, node: yaml.Node) -> Iterator[tuple[Object, yaml.Node]]:
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
        items = _node_at(node, "items")
        index = (
            next((v for k, v in node.value if k is items), None)
            if isinstance(node, yaml.MappingNode)
            else None
        )
        nodes = index.value if isinstance(index, yaml.SequenceNode) else []
        for item, inner in zip(document.get("items") or [], nodes, strict=False):
            yield from _objects(item, inner)
    elif isinstance(document, dict):
        yield document, node


def _kind_of(document: Object) -> Kind | None:
    kind = _BY_KIND.get(str(document.get("kind")))
    group = str(document.get("apiVersion", "")).rpartition("/")[0]
    return kind if kind is not None and kind.group == group else None


def read_manifests(paths: Iterable[str], namespace: str, recursive: bool) -> Input:
    """The objects of manifests, those that name no namespace in `namespace`. Raises BadManifest."""
    found = Input()
    for file, text in _files(paths, recursive):
        for document, node in _documents(file, text):
            for obj, where in _objects(document, node):
                _add(found, obj, Place(file, where), namespace)
    return found


def _add(found: Input, obj: Object, place: Place, namespace: str) -> None:
    meta = obj.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    if not isinstance(name, str):
        raise BadManifest(f"{place.reference('metadata')}: metadata.name: Required value")
    kind = _kind_of(obj)
    if kind is None:
        if not any(served.kind == obj.get("kind") for served in SERVED):
            found.unknown.append(f"{obj.get('kind')} {name} ({place.reference('kind')})")
        return
    if kind.namespaced:
        obj["metadata"].setdefault("namespace", namespace)
    _put(found, kind, obj)
    found.places[kind.kind, obj["metadata"].get("namespace") or "", name] = place


def _put(found: Input, kind: Kind, obj: Object) -> None:
    """Add an object in place of the one it would change; it keeps that one's age."""
    here = found.objects.setdefault(kind.resource, [])
    meta = obj["metadata"]
    for index, other in enumerate(here):
        if all(other["metadata"].get(key) == meta.get(key) for key in ("namespace", "name")):
            if "creationTimestamp" in other["metadata"]:
                meta.setdefault("creationTimestamp", other["metadata"]["creationTimestamp"])
            here[index] = obj
            return
    here.append(obj)


def read_mesh(client: Client) -> Input:
    """Every object of the mesh that analyzers look at."""
    found = Input()
    for kind in KINDS:
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.api_version}"
        items = client.get(f"{root}/{kind.plural}")["items"]
        found.objects[kind.resource] = [
            {"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in items
        ]
    return found


def with_manifests(mesh: Input, manifests: Input) -> Input:
    """The mesh as it would be once the manifests are applied."""
    for kind in KINDS:
        for obj in manifests.objects.get(kind.resource, ()):
            _put(mesh, kind, obj)
    return Input(mesh.objects, manifests.places, manifests.unknown)
