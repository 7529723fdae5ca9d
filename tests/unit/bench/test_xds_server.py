"""The static xDS server: Envoy's REST paths, the long poll, the aggregated form, and NACKs that are seen."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from bench.xds_server import TYPE_URLS, StaticXds

_SNAPSHOT: dict[str, list[dict[str, Any]]] = {
    "listeners": [{"name": "l"}],
    "clusters": [{"name": "a"}, {"name": "b"}],
    "routes": [],
    "endpoints": [{"cluster_name": "a"}],
    "secrets": [{"name": "default"}, {"name": "ROOTCA"}],
}


@pytest.fixture
def server() -> Iterator[StaticXds]:
    with StaticXds({"n": _SNAPSHOT}) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.closing.set()
        running.shutdown()
        thread.join()


def _post(server: StaticXds, kind: str, **body: Any) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{server.server_address[1]}/v3/discovery:{kind}"
    data = json.dumps({"node": {"id": "n"}, **body}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def test_a_type_is_served_whole_or_by_name(server: StaticXds) -> None:
    status, answer = _post(server, "clusters")
    assert (status, answer["version_info"], answer["type_url"]) == (200, "1", TYPE_URLS["clusters"])
    assert answer["resources"] == _SNAPSHOT["clusters"]
    assert _post(server, "secrets", resource_names=["ROOTCA"])[1]["resources"] == [{"name": "ROOTCA"}]
    assert _post(server, "endpoints", resource_names=["a"])[1]["resources"] == [{"cluster_name": "a"}]


def test_the_aggregated_form_holds_every_type(server: StaticXds) -> None:
    _, answer = _post(server, "aggregated")
    assert answer["full"] is True
    assert answer["resources"] == {TYPE_URLS[kind]: resources for kind, resources in _SNAPSHOT.items()}


def test_a_current_version_is_held_and_a_refusal_is_recorded(server: StaticXds) -> None:
    server.closing.set()  # so that holding ends at once
    assert _post(server, "clusters", version_info="1")[0] == 304
    assert _post(server, "clusters", error_detail={"message": "clusters[0].x: not implemented"})[0] == 304
    assert server.nacks == ["n refused clusters: clusters[0].x: not implemented"]


def test_an_unknown_node_gets_nothing(server: StaticXds) -> None:
    assert _post(server, "clusters", node={"id": "other"})[0] == 404
    assert _post(server, "nonsense")[0] == 404
