"""Which configuration holds for whom: policies, rules, virtual services, delegates."""

from __future__ import annotations

from typing import Any

import pytest

from control.push.config import peer_authentication
from control.push.manifests import BadManifest, context_of, read
from control.push.peer_policy import PeerPolicies


def _pa(name: str, namespace: str, created: int, mode: str, labels: Any = None, ports: Any = None) -> Any:
    spec: dict[str, Any] = {"mtls": {"mode": mode}}
    if labels:
        spec["selector"] = {"matchLabels": labels}
    if ports:
        spec["portLevelMtls"] = {port: {"mode": value} for port, value in ports.items()}
    stamp = f"2026-01-01T00:00:0{created}Z"
    meta = {"name": name, "namespace": namespace, "creationTimestamp": stamp}
    return peer_authentication({"metadata": meta, "spec": spec})


WEB = {"app": "web"}


@pytest.mark.parametrize(
    ("policies", "mode", "port_modes"),
    [
        ([], "PERMISSIVE", {}),
        ([_pa("m", "istio-system", 1, "STRICT")], "STRICT", {}),
        ([_pa("m", "istio-system", 1, "STRICT"), _pa("n", "ns", 2, "DISABLE")], "DISABLE", {}),
        ([_pa("m", "istio-system", 1, "STRICT"), _pa("n", "ns", 2, "UNSET")], "STRICT", {}),
        ([_pa("a", "ns", 2, "STRICT"), _pa("b", "ns", 1, "DISABLE")], "DISABLE", {}),
        ([_pa("n", "ns", 1, "STRICT"), _pa("w", "ns", 2, "DISABLE", WEB)], "DISABLE", {}),
        ([_pa("n", "ns", 1, "STRICT"), _pa("w", "ns", 2, "DISABLE", {"app": "x"})], "STRICT", {}),
        (
            [_pa("n", "ns", 1, "STRICT"), _pa("w", "ns", 2, "UNSET", WEB, {"80": "DISABLE", "81": "UNSET"})],
            "STRICT",
            {80: "DISABLE", 81: "STRICT"},
        ),
        ([_pa("m", "istio-system", 1, "STRICT", WEB)], "PERMISSIVE", {}),
        ([_pa("n", "other", 1, "STRICT")], "PERMISSIVE", {}),
    ],
)
def test_peer_authentication_resolution(policies: Any, mode: str, port_modes: dict[int, str]) -> None:
    found = PeerPolicies(policies, "istio-system").of_workload("ns", WEB)
    assert (found.mode, found.ports) == (mode, port_modes)
    assert found.of(80) == port_modes.get(80, mode)


def _rule(name: str, host: str, namespace: str, subsets: str = "", policy: str = "", extra: str = "") -> str:
    parts = [f"host: {host}"]
    if subsets:
        parts.append("subsets: [" + ", ".join(f"{{name: {s}}}" for s in subsets.split()) + "]")
    if policy:
        parts.append(f"trafficPolicy: {{loadBalancer: {{simple: {policy}}}}}")
    if extra:
        parts.append(extra)
    return (
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\nspec: {{{', '.join(parts)}}}\n"
    )


SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: server}
spec: {ports: [{name: http, port: 80}]}
"""
HOST = "web.server.svc.cluster.local"


@pytest.mark.parametrize(
    ("rules", "chosen", "policy", "subsets"),
    [
        ([], None, None, []),
        ([_rule("s", "web", "server", "v1")], "s", None, ["v1"]),
        ([_rule("s", "web", "server"), _rule("c", HOST, "client")], "c", None, []),
        ([_rule("s", "web", "server"), _rule("r", HOST, "istio-system")], "s", None, []),
        ([_rule("r", "'*.cluster.local'", "istio-system")], "r", None, []),
        (
            [_rule("w", "'*.cluster.local'", "client"), _rule("e", HOST, "client", "v1")],
            "e",
            None,
            ["v1"],
        ),
        (
            [
                _rule("one", "web", "server", "v1 v2", "RANDOM"),
                _rule("two", "web", "server", "v2 v3", "ROUND_ROBIN"),
            ],
            "one",
            "RANDOM",
            ["v1", "v2", "v3"],
        ),
        ([_rule("s", "web", "server", extra="exportTo: ['.']")], None, None, []),
        (
            [
                _rule("all", HOST, "client"),
                _rule("mine", HOST, "client", extra="workloadSelector: {matchLabels: {app: me}}"),
            ],
            "mine",
            None,
            [],
        ),
        ([_rule("x", HOST, "client", extra="workloadSelector: {matchLabels: {app: you}}")], None, None, []),
    ],
)
def test_destination_rule_lookup(
    rules: list[str], chosen: str | None, policy: str | None, subsets: list[str]
) -> None:
    context = context_of(read(SERVICE + "".join(rules)))
    found = context.destination_rule(HOST, "client", {"app": "me"})
    assert (found.source.name if found else None) == chosen
    if found:
        balancer = found.spec.trafficPolicy.loadBalancer if found.spec.trafficPolicy else None
        assert (balancer.simple if balancer else None) == policy
        assert [subset.name for subset in found.spec.subsets or []] == subsets


def _vs(name: str, hosts: str, http: str = "[{route: [{destination: {host: web}}]}]", extra: str = "") -> str:
    return (
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n"
        f"metadata: {{name: {name}, namespace: server}}\nspec:\n  http: {http}\n"
        + (f"  hosts: {hosts}\n" if hosts else "")
        + extra
    )


@pytest.mark.parametrize(
    ("services", "chosen"),
    [
        ([_vs("wide", "['*.cluster.local']"), _vs("exact", "[web]")], "exact"),
        ([_vs("old", "[web]"), _vs("new", "[web]")], "old"),
        ([_vs("other", "[other]")], None),
        ([_vs("gateway", "[web]", extra="  gateways: [gw]\n")], None),
        ([_vs("private", "[web]", extra="  exportTo: ['.']\n")], None),
    ],
)
def test_which_virtual_service(services: list[str], chosen: str | None) -> None:
    context = context_of(read("".join(services)))
    found = context.virtual_services_at("mesh", "client").best(HOST)
    assert (found[0].source.name if found else None) == chosen


def test_delegates_are_narrowed() -> None:
    root = _vs(
        "root",
        "[web]",
        "[{name: r, match: [{uri: {prefix: /a}, headers: {x: {exact: '1'}}}], timeout: 3s, delegate: {name: d}},"
        " {delegate: {name: missing}}, {route: [{destination: {host: last}}]}]",
    )
    delegate = _vs(
        "d",
        "",
        "[{name: in, match: [{uri: {prefix: /a/b}}], route: [{destination: {host: one}}]},"
        " {match: [{uri: {prefix: /z}}], route: [{destination: {host: never}}]},"
        " {timeout: 1s, match: [{headers: {x: {exact: '2'}}}], route: [{destination: {host: never}}]},"
        " {match: [{uri: {exact: /a/c}}, {uri: {exact: /b}}], route: [{destination: {host: never}}]},"
        " {match: [{uri: {regex: /a.*}}], route: [{destination: {host: never}}]},"
        " {match: [{ignoreUriCase: true}], route: [{destination: {host: never}}]},"
        " {timeout: 1s, route: [{destination: {host: rest}}]}]",
    )
    (config,) = context_of(read(root + delegate)).virtual_services
    rules = config.spec.http or []
    assert [rule.route[0].destination.host for rule in rules if rule.route] == [
        "one.server.svc.cluster.local",
        "rest.server.svc.cluster.local",
        "last",
    ]
    first = rules[0]
    assert (first.name, first.timeout) == ("r-in", "3s")
    assert first.match
    assert first.match[0].uri
    assert first.match[0].uri.prefix == "/a/b"
    assert first.match[0].headers
    assert rules[1].timeout == "1s"


def test_a_delegates_names_are_those_of_its_own_namespace() -> None:
    root = _vs("root", "[web]", "[{delegate: {name: d, namespace: other}}]")
    delegate = _vs("d", "", "[{route: [{destination: {host: one}}], mirror: {host: two}}]")
    found = context_of(
        read(root + delegate.replace("namespace: server", "namespace: other"))
    ).virtual_services
    (rule,) = found[0].spec.http or []
    assert rule.route
    assert rule.route[0].destination.host == "one.other.svc.cluster.local"
    assert rule.mirror
    assert rule.mirror.host == "two.other.svc.cluster.local"


def test_a_bad_manifest_is_refused() -> None:
    with pytest.raises(BadManifest, match=r"spec\.hosts"):
        read(_vs("x", "['*']"))
