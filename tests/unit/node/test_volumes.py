"""Volumes: what they hold, which mounts follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.pod_fields import Placement, UnknownField
from node.volumes import Mount, Token, Volumes, files, tokens

PLACEMENT = Placement("10.244.0.10", "10.244.0.1", "glassmesh", 2, 2**31)
MAPS = {("configmap", "c"): {"a": "1", "b": "2"}, ("secret", "s"): {"p": "w"}}


def lookup(kind: str, name: str) -> dict[str, str] | None:
    return MAPS.get((kind, name))


def pod(*volumes: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"name": "a", "namespace": "n", "labels": {"app": "a"}},
        "spec": {"volumes": list(volumes), "containers": []},
    }


FIELD = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}


@pytest.mark.parametrize(
    ("volume", "content"),
    [
        ({"emptyDir": {}}, {}),
        ({"configMap": {"name": "c"}}, {"a": "1", "b": "2"}),
        ({"configMap": {"name": "c", "items": [{"key": "b", "path": "x/y"}]}}, {"x/y": "2"}),
        ({"configMap": {"name": "no", "optional": True}}, {}),
        ({"secret": {"secretName": "s"}}, {"p": "w"}),
        ({"downwardAPI": {"items": [FIELD]}}, {"labels": 'app="a"'}),
        ({"projected": {"sources": [{"configMap": {"name": "c"}}, {"downwardAPI": {"items": [FIELD]}}]}}, {"a": "1", "b": "2", "labels": 'app="a"'}),
    ],
)  # fmt: skip
def test_files(volume: dict[str, Any], content: dict[str, str]) -> None:
    assert files(pod(), {"name": "v"} | volume, PLACEMENT, lookup) == content


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        (
            {"secret": {"secretName": "s", "items": [{"key": "q", "path": "q"}]}},
            "references non-existent secret key: q",
        ),
        ({"nfs": {}}, "only emptyDir"),
    ],
)
def test_what_is_missing_is_named(volume: dict[str, Any], words: str) -> None:
    with pytest.raises(UnknownField, match=words):
        files(pod(), {"name": "v"} | volume, PLACEMENT, lookup)


def test_tokens() -> None:
    source = {"serviceAccountToken": {"audience": "istio-ca", "expirationSeconds": 600, "path": "t"}}
    assert tokens({"projected": {"sources": [source]}}) == [Token("t", "istio-ca", 600)]


def test_files_are_replaced_whole_and_mounted_parents_first(tmp_path: Path) -> None:
    subject = Volumes(
        tmp_path, pod({"name": "c", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}}), PLACEMENT
    )
    subject.write_all(lookup)
    subject.write("c", "a", "changed")
    assert sorted(path.name for path in (tmp_path / "volumes/c").iterdir()) == ["a", "b"]
    assert (tmp_path / "volumes/c/a").read_text() == "changed"
    mounts = [
        {"name": "e", "mountPath": "/data/deep/e/", "subPath": "sub"},
        {"name": "c", "mountPath": "/data"},
        {"name": "c", "mountPath": "/one", "subPath": "b"},
    ]
    volumes = str(tmp_path / "volumes")
    assert subject.mounts({"volumeMounts": mounts}) == [
        Mount(f"{volumes}/c", "/data", True, True),
        Mount(f"{volumes}/c/b", "/one", True, False),
        Mount(f"{volumes}/e/sub", "/data/deep/e", False, True),
    ]
    subject.remove()
    assert not tmp_path.exists()
