"""Names and titles as kubectl shows them."""

from __future__ import annotations

from typing import Any

import pytest

from cli.client import ApiFailure, Client, Resource
from cli.describe import _named, _title

PODS = Resource("", "v1", "pods", "Pod", True, (), (), "pod")


class Api(Client):
    """Answers from a list of names."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def get(self, path: str, query: dict[str, str] | None = None, accept: str = "application/json") -> Any:
        name = path.removeprefix("/api/v1/namespaces/default/pods").strip("/")
        items = [{"metadata": {"name": each}} for each in self._names]
        if not name:
            return {"apiVersion": "v1", "kind": "PodList", "items": items}
        if name not in self._names:
            raise ApiFailure({"reason": "NotFound", "message": f'pods "{name}" not found'})
        return next(item for item in items if item["metadata"]["name"] == name)


@pytest.mark.parametrize(
    ("asked", "found"),
    [("web", ["web"]), ("web-", ["web-1", "web-2"]), ("a", ["api"])],
)
def test_a_name_or_the_beginning_of_names(asked: str, found: list[str]) -> None:
    objects = _named(Api("api", "web", "web-1", "web-2"), PODS, "default", asked)
    assert [obj["metadata"]["name"] for obj in objects] == found


def test_no_such_name() -> None:
    with pytest.raises(ApiFailure, match="not found"):
        _named(Api("api"), PODS, "default", "web")


@pytest.mark.parametrize(
    ("key", "title"),
    [
        ("creationTimestamp", "Creation Timestamp"),
        ("clusterIPs", "Cluster IPs"),
        ("podIP", "Pod IP"),
        ("hostIPs", "Host IPs"),
        ("httpGet", "Http Get"),
        ("uid", "UID"),
        ("app.kubernetes.io/name", "app.kubernetes.io/name"),
    ],
)
def test_titles(key: str, title: str) -> None:
    assert _title(key) == title
