"""Random objects, broken in random ways: refused or stored, never a failure of the server; what is stored compiles."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from control.analysis.admission import ApplyWarnings
from control.api.admission import Admission
from control.compile.compiler import compile_proxy
from control.mesh_config import MeshConfig
from control.push.manifests import context_of
from control.push.proxy import Proxy
from control.resources.destination_rule import DestinationRuleSpec
from control.resources.istio_kinds import ISTIO_KINDS
from control.resources.kind import Kind
from control.resources.virtual_service import VirtualServiceSpec
from tests.documents import Documents, mutated, repaired

SPECS = {"VirtualService": VirtualServiceSpec, "DestinationRule": DestinationRuleSpec}
KINDS = [kind for kind in ISTIO_KINDS if kind.kind in SPECS]
PROXY = Proxy("x", "sidecar", "10.244.0.1", "web", "default", {"app": "web"}, "web", False, {})
WEB = {
    "kind": "Service",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80}, {"name": "tcp", "port": 81}],
    },
}


@pytest.fixture
def admission() -> Admission:
    return Admission(validators=(ApplyWarnings(MeshConfig()).check,))


def _document(kind: Kind, random: Random) -> Any:
    spec = {
        **Documents(random).model(SPECS[kind.kind]),
        "hosts" if kind.kind == "VirtualService" else "host": "web",
    }
    if kind.kind == "VirtualService":
        spec["hosts"] = ["web"]
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "a"}, "spec": spec}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
async def test_the_server_answers_with_a_verdict(api: Any, kind: Kind) -> None:
    path = f"/apis/{kind.api_version}/namespaces/default/{kind.plural}"
    seen: set[int] = set()
    for seed in range(30):
        random = Random(seed)
        good = repaired(kind, _document(kind, random)) or _document(kind, random)
        for body in (good, mutated(random, good), mutated(random, good)):
            status, answer = await api("POST", path, body)
            seen.add(status)
            assert status in (201, 400, 422), (seed, body, answer)
            if status == 201:
                context = context_of([WEB, answer])
                assert compile_proxy(context, PROXY), (seed, answer)
                name = answer["metadata"]["name"]
                assert (await api("DELETE", f"{path}/{name}"))[0] == 200
    assert seen == {201, 400, 422}


async def test_half_a_surrogate_pair_is_replaced(api: Any) -> None:
    body = b'{"metadata": {"name": "a"}, "data": {"k": "\\ud800x"}}'
    status, stored = await api("POST", "/api/v1/namespaces/default/configmaps", body)
    assert (status, stored["data"]) == (201, {"k": "\ufffdx"})
