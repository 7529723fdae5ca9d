"""The manifests hold together: what a route names exists, and each Service selects a Deployment with its port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path("demo_apps/manifests")


def documents(path: Path) -> list[dict[str, Any]]:
    return [doc for doc in yaml.safe_load_all(path.read_text()) if doc]


def of_kind(kind: str) -> list[dict[str, Any]]:
    paths = sorted(MANIFESTS.rglob("*.yaml"))
    return [doc for path in paths for doc in documents(path) if doc["kind"] == kind]


@pytest.mark.parametrize("service", of_kind("Service"), ids=lambda doc: doc["metadata"]["name"])
def test_each_service_selects_pods_that_listen(service: dict[str, Any]) -> None:
    selector = service["spec"]["selector"].items()
    pods = [
        deployment["spec"]["template"]
        for deployment in of_kind("Deployment")
        if selector <= deployment["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert pods
    if service["metadata"]["name"] in ("curl", "istio-ingressgateway"):
        return  # one is a client, the other listens where Gateways say
    for pod in pods:
        listening = {port["containerPort"] for c in pod["spec"]["containers"] for port in c["ports"]}
        assert {port["port"] for port in service["spec"]["ports"]} <= listening


@pytest.mark.parametrize("service", of_kind("VirtualService"), ids=lambda doc: doc["metadata"]["name"])
def test_each_route_names_a_subset_that_is_defined(service: dict[str, Any]) -> None:
    subsets = {
        (rule["spec"]["host"], subset["name"])
        for rule in of_kind("DestinationRule")
        for subset in rule["spec"].get("subsets", ())
    }
    rules = [*service["spec"].get("http", ()), *service["spec"].get("tcp", ())]
    destinations = [route["destination"] for rule in rules for route in rule["route"]]
    destinations += [rule["mirror"] for rule in rules if "mirror" in rule]
    assert destinations
    for destination in destinations:
        if "subset" in destination:
            assert (destination["host"], destination["subset"]) in subsets
