"""What validation lets through, kubectl takes too: it checks against the schema we publish, on its own side and on ours."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from control.resources import destination_rule, http_rule, traffic_policy, virtual_service
from control.resources.istio_object import VERSIONS
from tests.documents import Documents, repaired

COUNT = 12


def _objects(namespace: str, version: str) -> list[Any]:
    made = Documents(Random(version))
    found = []
    for index in range(COUNT):
        policy = made.model(traffic_policy.TrafficPolicy)
        rules = [made.model(http_rule.HTTPRoute) for _ in range(2)]
        for kind, spec in (
            (virtual_service.KIND, {"hosts": [f"web{index}"], "http": rules}),
            (destination_rule.KIND, {"host": f"web{index}", "trafficPolicy": policy}),
        ):
            meta = {"name": f"a{index}", "namespace": namespace}
            document = {
                "apiVersion": f"{kind.group}/{version}",
                "kind": kind.kind,
                "metadata": meta,
                "spec": spec,
            }
            found.append(repaired(kind, document))
    return [obj for obj in found if obj is not None]


@pytest.mark.parametrize("version", VERSIONS)
def test_kubectl_takes_what_validation_lets_through(kubectl: Any, namespace: str, version: str) -> None:
    objects = _objects(namespace, version)
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    assert kubectl("apply", "-f", "-", stdin=manifest).count(" created\n") == len(objects)
    applied = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
    assert applied.count(" serverside-applied\n") == len(objects) > COUNT
    first = objects[0]
    resource = f"{first['kind']}.{version}.networking.istio.io"
    stored = kubectl.json("get", resource, first["metadata"]["name"], "-n", namespace)
    assert (stored["apiVersion"], stored["spec"]) == (first["apiVersion"], first["spec"])
