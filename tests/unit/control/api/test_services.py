"""ClusterIPs and endpoints."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address, ip_network
from typing import Any

from control.api.endpoints import EndpointsController

MERGE = "application/merge-patch+json"
NS = "/api/v1/namespaces/default"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def test_addresses_are_unique_in_range_and_kept(api: Any) -> None:
    answers = await asyncio.gather(*(api("POST", f"{NS}/services", service(f"s{n}")) for n in range(30)))
    addresses = [body["spec"]["clusterIP"] for _, body in answers]
    assert len(set(addresses)) == 30
    assert all(ip_address(address) in ip_network("10.96.0.0/16") for address in addresses)
    _, changed = await api("PATCH", f"{NS}/services/s3", {"spec": {"ports": [{"port": 81}]}}, type=MERGE)
    assert changed["spec"]["clusterIP"] == addresses[3]
    _, replaced = await api("PUT", f"{NS}/services/s4", service("s4"))
    assert replaced["spec"]["clusterIP"] == addresses[4]


async def test_a_service_made_again_has_its_address_again(api: Any) -> None:
    _, first = await api("POST", f"{NS}/services", service("s"))
    await api("DELETE", f"{NS}/services/s")
    _, second = await api("POST", f"{NS}/services", service("s"))
    assert first["spec"]["clusterIP"] == second["spec"]["clusterIP"]


async def test_chosen_addresses(api: Any) -> None:
    assert (await api("POST", f"{NS}/services", service("a", clusterIP="10.96.7.7")))[1]["spec"][
        "clusterIPs"
    ] == ["10.96.7.7"]
    for address, why in (
        ("10.96.7.7", "already allocated"),
        ("10.0.0.1", "not in the valid range"),
        ("x", "valid IP"),
    ):
        code, status = await api("POST", f"{NS}/services", service("b", clusterIP=address))
        assert (code, why in status["message"]) == (422, True)
    code, status = await api("PATCH", f"{NS}/services/a", {"spec": {"clusterIP": "10.96.7.8"}}, type=MERGE)
    assert (code, "may not change once set" in status["message"]) == (422, True)


async def test_headless_and_external(api: Any) -> None:
    assert (await api("POST", f"{NS}/services", service("h", clusterIP="None")))[1]["spec"][
        "clusterIP"
    ] == "None"
    external = {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    assert "clusterIP" not in (await api("POST", f"{NS}/services", external))[1]["spec"]


async def test_endpoints_follow_pods(api: Any, make: Any) -> None:
    spec = {"selector": {"app": "p"}, "ports": [{"port": 80, "targetPort": "web"}]}
    await api("POST", f"{NS}/services", {"metadata": {"name": "s"}, "spec": spec})
    ports = [{"name": "web", "containerPort": 8080}]
    await api(
        "POST",
        f"{NS}/pods",
        make.pod(nodeName="n", containers=[{"name": "c", "image": "i:1", "ports": ports}]),
    )
    await api("PATCH", f"{NS}/pods/p/status", {"status": {"podIP": "10.244.0.9"}}, type=MERGE)
    waiting = await api.until(f"{NS}/endpoints/s", lambda _, body: "subsets" in body)
    assert [a["ip"] for a in waiting["subsets"][0]["notReadyAddresses"]] == ["10.244.0.9"]
    ready = {"status": {"podIP": "10.244.0.9", "conditions": [{"type": "Ready", "status": "True"}]}}
    await api("PATCH", f"{NS}/pods/p/status", ready, type=MERGE)
    body = await api.until(f"{NS}/endpoints/s", lambda _, body: "addresses" in body["subsets"][0])
    assert body["subsets"][0]["ports"] == [{"name": "", "port": 8080, "protocol": "TCP"}]
    found = await api.until(
        f"{SLICES}/s-glass", lambda code, body: code == 200 and body["endpoints"][0]["conditions"]["ready"]
    )
    assert found["endpoints"][0]["addresses"] == ["10.244.0.9"]
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "s"
    await api("DELETE", f"{NS}/services/s")
    await api.until(f"{SLICES}/s-glass", lambda code, _: code == 404)
    await api.until(f"{NS}/endpoints/s", lambda code, _: code == 404)


async def test_endpoints_follow_labels_and_selectors(api: Any, make: Any) -> None:
    async def addresses(name: str, wanted: list[str]) -> None:
        def there(_: int, body: Any) -> bool:
            found = [a["ip"] for subset in body.get("subsets", ()) for a in subset["notReadyAddresses"]]
            return found == wanted

        await api.until(f"{NS}/endpoints/{name}", there)

    for name in ("p", "q"):
        ports = [{"port": 80, "targetPort": 80}]
        spec = {"selector": {"app": name, "tier": "x"}, "ports": ports}
        await api("POST", f"{NS}/services", {"metadata": {"name": name}, "spec": spec})
    await api("POST", f"{NS}/pods", make.pod(nodeName="n"))
    await api("PATCH", f"{NS}/pods/p/status", {"status": {"podIP": "10.244.0.9"}}, type=MERGE)
    await api("PATCH", f"{NS}/pods/p", {"metadata": {"labels": {"app": "p", "tier": "x"}}}, type=MERGE)
    await addresses("p", ["10.244.0.9"])
    await api("PATCH", f"{NS}/pods/p", {"metadata": {"labels": {"app": "q"}}}, type=MERGE)
    await addresses("p", [])
    await addresses("q", ["10.244.0.9"])
    await api("PATCH", f"{NS}/services/q", {"spec": {"selector": {"tier": "y"}}}, type=MERGE)
    await addresses("q", [])


def test_labels_of_pods_that_are_gone_are_forgotten() -> None:
    controller = EndpointsController(None)  # type: ignore[arg-type]  # nothing is written here
    for rollout in range(3):
        labels = {"app": "a", "pod-template-hash": str(rollout)}
        pod = {"metadata": {"name": "a", "namespace": "default", "labels": labels}}
        controller._saw_pod(pod, False)
        assert len(controller._labelled) == 2
    controller._saw_pod(pod, True)
    assert controller._labelled == {}
