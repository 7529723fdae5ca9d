"""The manifests hold together: what a route names exists, and each Service selects a Deployment with its port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFESTS = Path("demo_apps/manifests")


def documents(pattern: str) -> list[dict[str, Any]]:
    return [
        doc for path in sorted(MANIFESTS.glob(pattern)) for doc in yaml.safe_load_all(path.read_text()) if doc
    ]


def of_kind(kind: str, pattern: str = "*.yaml") -> list[dict[str, Any]]:
    return [doc for doc in documents(pattern) if doc["kind"] == kind]


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


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("virtual-service-*.yaml")), ids=lambda path: path.stem)
def test_each_route_names_a_subset_that_is_defined(path: Path) -> None:
    subsets = {
        (rule["spec"]["host"], subset["name"])
        for rule in of_kind("DestinationRule")
        for subset in rule["spec"]["subsets"]
    }
    for service in of_kind("VirtualService", path.name):
        for http in service["spec"]["http"]:
            for route in http["route"]:
                assert (route["destination"]["host"], route["destination"]["subset"]) in subsets
