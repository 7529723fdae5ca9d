"""Load balancers, localities and hash policies of DestinationRules, as Istio compiles them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from control.mesh_config import MeshConfig

HOST = "web.default.svc.cluster.local"
CLUSTER = f"outbound|80||{HOST}"
PLACES = {"r1.z1.s1": 2, "r1.z1.s2": 1, "r1.z2.s1": 1, "r2.z1.s1": 1, "r3.z1.s1": 3}


def rule(policy: str, subsets: str = "[]") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec: {{host: web, trafficPolicy: {policy}, subsets: {subsets}}}
---
"""


def pods(places: dict[str, int] = PLACES, client: str = "r1.z1.s1", **labels: str) -> str:
    """So many ready web pods in each place beside the base's, and the client's own."""
    found = []
    for place, count in places.items():
        for at in range(count):
            found.append(_pod(f"web-{place}-{at}", {"app": "web", "istio-locality": place, "at": place}))
    found.append(_pod("near", {"app": "near", "istio-locality": client, **labels}))
    return "".join(f"{yaml.dump(one)}---\n" for one in found)


def _pod(name: str, labels: dict[str, str], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    number = sum(map(ord, name)) + len(name) * 7
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": labels,
            "annotations": annotations or {},
        },
        "spec": {"containers": [{"name": "a", "image": "a"}]},
        "status": {
            "phase": "Running",
            "podIP": f"10.245.{number >> 8}.{number & 255}",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def groups(
    compiled: Any, text: str, name: str = "near", mesh: MeshConfig | None = None, cluster: str = CLUSTER
) -> dict[str, list[Any]]:
    """`region/zone/sub_zone` -> [priority, weight, endpoints], in parts where a locality has several."""
    found: dict[str, list[Any]] = {}
    for one in compiled(text, name, mesh=mesh).endpoints[cluster].get("endpoints", ()):
        where = one["locality"]
        key = "/".join(where.get(part, "") for part in ("region", "zone", "sub_zone")).rstrip("/")
        value = [one.get("priority", 0), one["load_balancing_weight"], len(one["lb_endpoints"])]
        found.setdefault(key, []).append(value)
    return found


DETECT = "outlierDetection: {}"


@pytest.mark.parametrize(
    ("policy", "priorities"),
    [
        ("{tls: {mode: DISABLE}}", [0, 0, 0, 0, 0, 0]),
        (f"{{{DETECT}}}", [3, 0, 1, 2, 3, 3]),
        (f"{{{DETECT}, loadBalancer: {{localityLbSetting: {{enabled: false}}}}}}", [0, 0, 0, 0, 0, 0]),
        (
            f"{{{DETECT}, loadBalancer: {{localityLbSetting: {{failover: [{{from: r1, to: r3}}]}}}}}}",
            [4, 0, 1, 2, 4, 3],
        ),
        (
            f"{{{DETECT}, loadBalancer: {{localityLbSetting: {{failover: [{{from: r2, to: r3}}]}}}}}}",
            [3, 0, 1, 2, 3, 3],
        ),
        (
            f"{{{DETECT}, loadBalancer: {{localityLbSetting: {{failoverPriority: [at=r2.z1.s1]}}}}}}",
            [1, 1, 1, 1, 0, 1],
        ),
        (
            f"{{{DETECT}, loadBalancer: {{localityLbSetting: {{failoverPriority: [topology.kubernetes.io/region, topology.kubernetes.io/zone]}}}}}}",
            [2, 0, 0, 1, 2, 2],
        ),
    ],
)
def test_priorities_for_a_client_in_r1_z1_s1(compiled: Any, policy: str, priorities: list[int]) -> None:
    found = groups(compiled, rule(policy) + pods())
    places = ["", "r1/z1/s1", "r1/z1/s2", "r1/z2/s1", "r2/z1/s1", "r3/z1/s1"]  # "" is the base's own web pod
    assert [found[place][0][0] for place in places] == priorities
    assert [found[place][0][2] for place in places] == [1, 2, 1, 1, 1, 3]


def test_priorities_have_no_gaps(compiled: Any) -> None:
    found = groups(compiled, rule(f"{{{DETECT}}}") + pods({"r1.z2": 1, "r2": 1}, client="r1.z1"))
    assert {place: value[0][0] for place, value in found.items()} == {"": 1, "r1/z2": 0, "r2": 1}


def test_labels_split_a_locality(compiled: Any) -> None:
    text = rule(f"{{{DETECT}, loadBalancer: {{localityLbSetting: {{failoverPriority: [version]}}}}}}")
    found = groups(compiled, text + pods({}, version="v1"))
    assert found == {"": [[0, 1, 1]]}
    other = groups(
        compiled,
        text + pods({"": 0}, version="v2") + yaml.dump(_pod("more", {"app": "web", "version": "v2"})),
    )
    assert other == {"": [[0, 1, 1], [1, 1, 1]]}


@pytest.mark.parametrize(
    ("to", "weights"),
    [
        ("{r1: 80, r2: 20}", {"r1/z1/s1": 40, "r1/z1/s2": 20, "r1/z2/s1": 20, "r2/z1/s1": 20}),
        ('{"r1/z1/*": 100}', {"r1/z1/s1": 67, "r1/z1/s2": 34}),  # rounded up, each
        ("{r3/z1/s1: 100}", {"r3/z1/s1": 100}),
        ("{r9: 100}", {}),
    ],
)
def test_shares_of_localities(compiled: Any, to: str, weights: dict[str, int]) -> None:
    setting = f'{{distribute: [{{from: "r1/*", to: {to}}}]}}'
    found = groups(compiled, rule(f"{{{DETECT}, loadBalancer: {{localityLbSetting: {setting}}}}}") + pods())
    assert {place: value[0][1] for place, value in found.items()} == weights
    assert all(value[0][0] == 0 for value in found.values())


def test_shares_for_others_change_nothing(compiled: Any) -> None:
    setting = "{distribute: [{from: r7, to: {r1: 100}}]}"
    found = groups(compiled, rule(f"{{loadBalancer: {{localityLbSetting: {setting}}}}}") + pods())
    assert len(found) == 6


def test_the_mesh_may_have_a_setting_of_its_own(compiled: Any) -> None:
    off = MeshConfig.model_validate({"localityLbSetting": {"enabled": False}})
    found = groups(compiled, rule(f"{{{DETECT}}}") + pods(), mesh=off)
    assert {value[0][0] for value in found.values()} == {0}
    shared = MeshConfig.model_validate(
        {"localityLbSetting": {"distribute": [{"from": "*", "to": {"r2": 100}}]}}
    )
    assert list(groups(compiled, pods(), mesh=shared)) == ["r2/z1/s1"]


@pytest.mark.parametrize(("wanted", "priorities"), [("PreferClose", [3, 0, 1, 2, 3, 3]), ("Else", [0] * 6)])
def test_traffic_distribution_needs_no_detection(compiled: Any, wanted: str, priorities: list[int]) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "close", "annotations": {"networking.istio.io/traffic-distribution": wanted}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }
    found = groups(compiled, pods() + yaml.dump(service), cluster=CLUSTER.replace("web", "close"))
    assert sorted(value[0][0] for value in found.values()) == sorted(priorities)


def test_weights_of_workloads(compiled: Any) -> None:
    heavy = _pod("heavy", {"app": "web"}, {"glassmesh.io/load-balancing-weight": "7"})
    (group,) = compiled(yaml.dump(heavy)).endpoints[CLUSTER]["endpoints"]
    assert sorted(one["load_balancing_weight"] for one in group["lb_endpoints"]) == [1, 7]
    assert group["load_balancing_weight"] == 8


def test_clients_in_different_places_do_not_share(compiled: Any) -> None:
    text = (
        rule(f"{{{DETECT}}}") + pods() + yaml.dump(_pod("far", {"app": "far", "istio-locality": "r2.z1.s1"}))
    )
    assert groups(compiled, text, "near")["r2/z1/s1"][0][0] == 3
    assert groups(compiled, text, "far")["r2/z1/s1"][0][0] == 0


PANIC_OFF = {"healthy_panic_threshold": {"value": 0}, "locality_weighted_lb_config": {}}
SLOW = {
    "slow_start_window": "30s",
    "aggression": {"default_value": 1, "runtime_key": "upstream.slow_start.aggression"},
    "min_weight_percent": {"value": 10},
}


@pytest.mark.parametrize(
    ("balancer", "wanted"),
    [
        ("{}", {"lb_policy": "LEAST_REQUEST"}),
        ("{simple: UNSPECIFIED}", {"lb_policy": "LEAST_REQUEST"}),
        ("{simple: LEAST_CONN}", {"lb_policy": "LEAST_REQUEST"}),
        ("{simple: ROUND_ROBIN}", {"lb_policy": "ROUND_ROBIN"}),
        ("{simple: RANDOM}", {"lb_policy": "RANDOM"}),
        ("{simple: RANDOM, warmup: {duration: 30s}}", {"lb_policy": "RANDOM"}),
        (
            "{simple: ROUND_ROBIN, warmup: {duration: 30s}}",
            {"lb_policy": "ROUND_ROBIN", "round_robin_lb_config": {"slow_start_config": SLOW}},
        ),
        (
            "{warmupDurationSecs: 30s}",
            {"lb_policy": "LEAST_REQUEST", "least_request_lb_config": {"slow_start_config": SLOW}},
        ),
        (
            "{warmup: {duration: 5s, minimumPercent: 30, aggression: 2}}",
            {
                "lb_policy": "LEAST_REQUEST",
                "least_request_lb_config": {
                    "slow_start_config": {
                        "slow_start_window": "5s",
                        "aggression": {"default_value": 2, "runtime_key": "upstream.slow_start.aggression"},
                        "min_weight_percent": {"value": 30},
                    }
                },
            },
        ),
        (
            "{consistentHash: {httpHeaderName: a}}",
            {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 1024}},
        ),
        (
            "{consistentHash: {httpHeaderName: a, minimumRingSize: 9}}",
            {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 9}},
        ),
        ("{consistentHash: {httpHeaderName: a, ringHash: {}}}", {"lb_policy": "RING_HASH"}),
        (
            "{consistentHash: {httpHeaderName: a, ringHash: {minimumRingSize: 8}}}",
            {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 8}},
        ),
        ("{consistentHash: {httpHeaderName: a, maglev: {}}}", {"lb_policy": "MAGLEV"}),
        (
            "{consistentHash: {httpHeaderName: a, maglev: {tableSize: 11}}}",
            {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 11}},
        ),
    ],
)
def test_policies(compiled: Any, balancer: str, wanted: dict[str, Any]) -> None:
    cluster = compiled(rule(f"{{loadBalancer: {balancer}}}")).clusters[CLUSTER]
    found = {
        key: value for key, value in cluster.items() if key.startswith("lb_") or key.endswith("_lb_config")
    }
    common = found.pop("common_lb_config")
    assert found == wanted
    assert common == PANIC_OFF


@pytest.mark.parametrize(
    ("policy", "common"),
    [
        (f"{{{DETECT}}}", PANIC_OFF),
        (
            "{outlierDetection: {minHealthPercent: 30}}",
            {**PANIC_OFF, "healthy_panic_threshold": {"value": 30}},
        ),
        ("{loadBalancer: {localityLbSetting: {enabled: false}}}", {"healthy_panic_threshold": {"value": 0}}),
    ],
)
def test_panic_and_localities(compiled: Any, policy: str, common: dict[str, Any]) -> None:
    assert compiled(rule(policy)).clusters[CLUSTER]["common_lb_config"] == common


def action(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = result.virtual_host("80", f"{HOST}:80")["routes"][0]["route"]
    return found


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("httpHeaderName: x-a", {"header": {"header_name": "x-a"}}),
        ("httpQueryParameterName: q", {"query_parameter": {"name": "q"}}),
        ("useSourceIp: true", {"connection_properties": {"source_ip": True}}),
        ("httpCookie: {name: c}", {"cookie": {"name": "c"}}),
        ("httpCookie: {name: c, ttl: 0s}", {"cookie": {"name": "c", "ttl": "0s"}}),
        (
            "httpCookie: {name: c, ttl: 60s, path: /p, attributes: [{name: SameSite, value: Lax}]}",
            {
                "cookie": {
                    "name": "c",
                    "ttl": "60s",
                    "path": "/p",
                    "attributes": [{"name": "SameSite", "value": "Lax"}],
                }
            },
        ),
    ],
)
def test_hash_policies(compiled: Any, key: str, wanted: dict[str, Any]) -> None:
    found = action(compiled(rule(f"{{loadBalancer: {{consistentHash: {{{key}}}}}}}")))
    assert found["hash_policy"] == [wanted]
    assert "retry_host_predicate" not in found["retry_policy"]
    assert found["retry_policy"]["num_retries"] == 2


def test_a_route_hashes_what_its_destinations_want(compiled: Any) -> None:
    virtual_service = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - match: [{uri: {prefix: /v1}}]
    retries: {attempts: 3, retryIgnorePreviousHosts: true}
    route: [{destination: {host: web, subset: v1}}]
  - route: [{destination: {host: web, subset: v1}, weight: 50}, {destination: {host: web, subset: v2}, weight: 50}]
---
"""
    hashed = "{consistentHash: {httpHeaderName: x-%s}}"
    subsets = (
        f"[{{name: v1, labels: {{version: v1}}, trafficPolicy: {{loadBalancer: {hashed % 'one'}}}}},"
        f" {{name: v2, labels: {{version: v2}}, trafficPolicy: {{loadBalancer: {hashed % 'two'}}}}}]"
    )
    first, second = compiled(virtual_service + rule("{tls: {mode: DISABLE}}", subsets)).virtual_host(
        "80", f"{HOST}:80"
    )["routes"]
    assert [one["header"]["header_name"] for one in first["route"]["hash_policy"]] == ["x-one"]
    assert "retry_host_predicate" in first["route"]["retry_policy"]  # asked for
    assert [one["header"]["header_name"] for one in second["route"]["hash_policy"]] == ["x-one", "x-two"]


def test_opaque_connections_hash_their_source_alone(compiled: Any) -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: bytes}
spec: {clusterIP: 10.96.9.9, selector: {app: web}, ports: [{name: tcp, port: 90}]}
---
"""
    for key, wanted in (("useSourceIp: true", [{"source_ip": {}}]), ("httpHeaderName: a", None)):
        text = rule(f"{{loadBalancer: {{consistentHash: {{{key}}}}}}}").replace("host: web", "host: bytes")
        listener = compiled(service + text).listeners["10.96.9.9_90"]
        proxy = listener["filter_chains"][0]["filters"][-1]["typed_config"]
        assert proxy.get("hash_policy") == wanted
