"""ClusterIP rules: kube-proxy's shape, from Services and Endpoints."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from node.service_rules import ServicePort, restore_text, service_ports


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]
    return {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"clusterIP": "10.96.1.1", "ports": ports, "type": "ClusterIP"} | spec,
    }


def endpoints(*ips: str, port: int = 8080, name: str = "http") -> dict[str, Any]:
    return {"subsets": [{"addresses": [{"ip": ip} for ip in ips], "ports": [{"name": name, "port": port}]}]}


def test_endpoints_are_random_and_in_shares() -> None:
    found = service_ports(
        [service("a")], {("default", "a"): endpoints("10.244.0.3", "10.244.0.2", "10.244.0.4")}
    )
    assert found == [
        ServicePort("default/a:http", "tcp", "10.96.1.1", 80, tuple(f"10.244.0.{n}:8080" for n in (2, 3, 4)))
    ]
    rules = [line for line in restore_text(found).splitlines() if line.startswith(f"-A {found[0].chain}")]
    assert [line.partition("probability ")[2].split()[0:1] for line in rules] == [
        ["0.3333333333"],
        ["0.5000000000"],
        [],
    ]


def test_hairpin_is_masqueraded() -> None:
    found = service_ports([service("a")], {("default", "a"): endpoints("10.244.0.2")})
    chain = found[0].endpoint_chain("10.244.0.2:8080")
    lines = restore_text(found).splitlines()
    assert f"-A {chain} -s 10.244.0.2/32 -j KUBE-MARK-MASQ" in lines
    assert f"-A {chain} -p tcp -j DNAT --to-destination 10.244.0.2:8080" in lines


def test_no_endpoints_is_refused() -> None:
    text = restore_text(service_ports([service("a")], {}))
    assert "-A KUBE-SERVICES -d 10.96.1.1/32 -p tcp" in text.partition("*nat")[0]
    assert "REJECT" in text
    assert "KUBE-SVC" not in text


def test_only_services_with_an_address() -> None:
    services = [service("a", clusterIP="None"), service("b", type="ExternalName"), service("c", clusterIP="")]
    assert service_ports(services, {}) == []


def test_ports_are_matched_by_name() -> None:
    one = service("a", ports=[{"name": "x", "port": 1}, {"name": "y", "port": 2}])
    found = service_ports([one], {("default", "a"): endpoints("10.244.0.2", port=7, name="y")})
    assert [(port.port, port.endpoints) for port in found] == [(1, ()), (2, ("10.244.0.2:7",))]


def test_affinity_goes_before_chance() -> None:
    found = service_ports(
        [service("a", sessionAffinity="ClientIP")], {("default", "a"): endpoints("10.244.0.2", "10.244.0.3")}
    )
    rules = [line for line in restore_text(found).splitlines() if line.startswith(f"-A {found[0].chain}")]
    assert ["recent" in line for line in rules] == [True, True, False, False]
    assert "--seconds 10800" in rules[0]


@given(st.integers(1, 12), st.integers(0, 2**16))
def test_shares_are_equal(count: int, seed: int) -> None:
    """Walking the chain with its probabilities picks each endpoint equally often."""
    ips = [f"10.244.1.{n}" for n in range(count)]
    port = service_ports([service("a")], {("default", "a"): endpoints(*ips)})[0]
    rules = [line for line in restore_text([port]).splitlines() if line.startswith(f"-A {port.chain} ")]
    shares = [
        float(rest.split()[0]) if (rest := line.partition("probability ")[2]) else 1.0 for line in rules
    ]
    random, picked = Random(seed), Counter[int]()
    for _ in range(200 * count):
        picked[next(index for index, share in enumerate(shares) if random.random() < share)] += 1
    assert set(picked) == set(range(count))
    assert max(picked.values()) < 200 * 1.6
