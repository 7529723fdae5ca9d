"""A pod's volumes: which files they hold, and which mounts a container gets.

`Plan` functions are pure; `Volumes` writes the files, below the private /run of the mesh, where they end with it. Files of a volume
are replaced one by one by rename, so a reader sees the old or the new content. Reference: Kubernetes, "Volumes"; kubelet's
atomic writer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.api_client import Object
from node.environment import Lookup
from node.pod_fields import Placement, UnknownField, field_value, resource_value

UNSUPPORTED = "volume {name}: only emptyDir, configMap, secret, projected, downwardAPI and hostPath exist on one machine"


@dataclass(frozen=True, slots=True)
class Token:
    """A service account token a volume holds: where, for whom, for how long (seconds)."""

    path: str
    audience: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container. Paths are as this mesh sees them."""

    source: str
    target: str
    read_only: bool
    directory: bool


def tokens(volume: Mapping[str, Any]) -> list[Token]:
    """The tokens a volume asks for; the API's own audience is the default."""
    sources = (volume.get("projected") or {}).get("sources") or []
    found = [source["serviceAccountToken"] for source in sources if source.get("serviceAccountToken")]
    return [Token(t["path"], t.get("audience") or "", int(t.get("expirationSeconds") or 3600)) for t in found]


def files(pod: Object, volume: Mapping[str, Any], placement: Placement, lookup: Lookup) -> dict[str, str]:
    """Path to content of everything in a volume but tokens. Raises UnknownField."""
    if "emptyDir" in volume or "hostPath" in volume:
        return {}
    if source := volume.get("configMap"):
        return _keys("configmap", source.get("name", ""), source, lookup)
    if source := volume.get("secret"):
        return _keys("secret", source.get("secretName", ""), source, lookup)
    if source := volume.get("downwardAPI"):
        return _downward(pod, source, placement)
    if "projected" in volume:
        content: dict[str, str] = {}
        for source in volume["projected"].get("sources") or []:
            content |= _projected(pod, source, placement, lookup)
        return content
    raise UnknownField(UNSUPPORTED.format(name=volume["name"]))


def _projected(
    pod: Object, source: Mapping[str, Any], placement: Placement, lookup: Lookup
) -> dict[str, str]:
    for field, kind in (("configMap", "configmap"), ("secret", "secret")):
        if reference := source.get(field):
            return _keys(kind, reference.get("name", ""), reference, lookup)
    if downward := source.get("downwardAPI"):
        return _downward(pod, downward, placement)
    return {}


def _keys(kind: str, name: str, source: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    data = lookup(kind, name)
    if data is None:
        if source.get("optional"):
            return {}
        raise UnknownField(f'{kind} "{name}" not found')
    if not source.get("items"):
        return dict(data)
    missing = [item["key"] for item in source["items"] if item["key"] not in data]
    if missing and not source.get("optional"):
        raise UnknownField(f"references non-existent {kind} key: {missing[0]}")
    return {item["path"]: data[item["key"]] for item in source["items"] if item["key"] in data}


def _downward(pod: Object, source: Mapping[str, Any], placement: Placement) -> dict[str, str]:
    content = {}
    for item in source.get("items") or []:
        if reference := item.get("fieldRef"):
            content[item["path"]] = field_value(pod, reference["fieldPath"], placement)
        else:
            content[item["path"]] = resource_value(pod, item["resourceFieldRef"], "", placement)
    return content


class Volumes:
    """The volumes of one pod, below `root`."""

    def __init__(self, root: Path, pod: Object, placement: Placement) -> None:
        self._root = root
        self.pod = pod  # replaced when its labels or annotations change
        self._placement = placement
        self._volumes: dict[str, Mapping[str, Any]] = {v["name"]: v for v in pod["spec"].get("volumes") or []}

    def __repr__(self) -> str:
        return f"<Volumes {sorted(self._volumes)} in {self._root}>"

    def tokens(self) -> list[tuple[str, Token]]:
        """Volume name and token, for each token the pod is to have."""
        return [(name, token) for name, volume in self._volumes.items() for token in tokens(volume)]

    def write_all(self, lookup: Lookup) -> None:
        """Makes every directory and file that needs no token. Raises UnknownField."""
        for name, volume in self._volumes.items():
            content = files(self.pod, volume, self._placement, lookup)
            directory = self._directory(name)
            directory.mkdir(parents=True, exist_ok=True)
            if "emptyDir" in volume:
                directory.chmod(0o777)
            for path, text in content.items():
                self.write(name, path, text)

    def write(self, volume: str, path: str, text: str) -> None:
        """Puts one file into a volume unless it is there already, readable by every user of the pod."""
        target = self._directory(volume) / path
        data = text.encode()
        if target.exists() and target.read_bytes() == data:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        new.write_bytes(data)
        new.chmod(0o644)
        new.rename(target)

    def write_pod_file(self, name: str, text: str) -> Path:
        """A file of the pod itself, such as resolv.conf."""
        path = self._root / "etc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def mounts(self, container: Object) -> list[Mount]:
        """The mounts of a container, parents before children. Raises UnknownField."""
        wanted = [self._mount(mount) for mount in container.get("volumeMounts") or []]
        return sorted(wanted, key=lambda mount: mount.target.count("/"))

    def remove(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)

    def _mount(self, mount: Mapping[str, Any]) -> Mount:
        volume = self._volumes[mount["name"]]
        directory = (
            Path(volume["hostPath"]["path"]) if "hostPath" in volume else self._directory(mount["name"])
        )
        source = directory / (mount.get("subPath") or ".")
        if mount.get("subPath") and "emptyDir" in volume:
            source.mkdir(parents=True, exist_ok=True)
        if not source.exists():
            raise UnknownField(f"volume {mount['name']}: {source} does not exist")
        read_only = bool(mount.get("readOnly")) or not ("emptyDir" in volume or "hostPath" in volume)
        return Mount(os.fspath(source), mount["mountPath"].rstrip("/") or "/", read_only, source.is_dir())

    def _directory(self, volume: str) -> Path:
        return self._root / "volumes" / volume
