"""Analyzers at apply: what the client is warned of, and that nothing they do stops a write."""

from __future__ import annotations

from typing import Any

import pytest

from control.analysis import admission as analysis
from control.analysis.admission import ApplyWarnings
from control.api.admission import Admission
from control.mesh_config import MeshConfig

SERVICES = "/api/v1/namespaces/default/services"
ISTIO = "/apis/networking.istio.io/v1/namespaces/default"
RULES = f"{ISTIO}/virtualservices"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture
def admission() -> Admission:
    return Admission(validators=(ApplyWarnings(MeshConfig()).check,))


def _rule(name: str, *rules: Any) -> dict[str, Any]:
    spec = {"hosts": ["web"], "http": [*rules] or [{"route": [{"destination": {"host": "web"}}]}]}
    return {"metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def web(api: Any) -> Any:
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}
    assert (await api("POST", SERVICES, {"metadata": {"name": "web"}, "spec": spec}))[0] == 201
    return api


async def test_a_conflict_is_a_warning_and_the_object_is_stored(web: Any) -> None:
    assert (await web("POST", RULES, _rule("a")))[0] == 201
    assert web.warnings == []
    status, stored = await web("POST", RULES, _rule("b"))
    assert (status, stored["metadata"]["name"]) == (201, "b")
    (warning,) = web.warnings
    assert warning.startswith(
        '299 - "[IST0109] spec.hosts[0]: The VirtualServices default/a,default/b associated'
    )


async def test_every_way_to_write_warns(web: Any) -> None:
    route = {"route": [{"destination": {"host": "web", "subset": "v9"}}]}
    word = '299 - "[IST0101] spec.http[0].route[0].destination.subset: Referenced host+subset in destinationrule not found: \\"web+v9\\""'
    body = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", **_rule("a", route)}
    assert (await web("PATCH", f"{RULES}/a?fieldManager=m", body, type=APPLY))[0] == 201
    assert web.warnings == [word]
    status, stored = await web("GET", f"{RULES}/a")
    assert (await web("PUT", f"{RULES}/a", stored))[0] == status == 200
    assert web.warnings == [word]
    assert (await web("PATCH", f"{RULES}/a", {"metadata": {"labels": {"b": "c"}}}, type=MERGE))[0] == 200
    assert web.warnings == [word]
    assert (await web("PATCH", f"{RULES}/a/status", {"status": {"x": "y"}}, type=MERGE))[0] == 200
    assert web.warnings == []
    body["metadata"]["name"] = "dry"
    assert (await web("POST", f"{RULES}?dryRun=All", body))[0] == 201
    assert word in web.warnings


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
async def test_every_version(web: Any, version: str) -> None:
    route = {"route": [{"destination": {"host": "gone"}}]}
    assert (await web("POST", RULES.replace("v1/", f"{version}/", 1), _rule("a", route)))[0] == 201
    assert "[IST0101] spec.http[0].route[0].destination.host" in web.warnings[0]


async def test_an_analyzer_that_fails_stops_nothing(
    web: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("broken")

    monkeypatch.setattr(analysis, "at_apply", broken)
    assert (await web("POST", RULES, _rule("a")))[0] == 201
    assert web.warnings == []
    assert "analysis of VirtualService a failed" in caplog.text


async def test_warnings_are_headers_whatever_they_hold(web: Any) -> None:
    rules = [{"name": 'a\nb\0"é', "route": [{"destination": {"host": "web"}}]} for _ in range(60)]
    assert (await web("POST", RULES, _rule("a", *rules)))[0] == 201
    assert len(web.warnings) == 51
    assert web.warnings[-1] == '299 - "and 9 more: see `glassmesh analyze`"'
