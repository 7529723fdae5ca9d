"""A context that follows another compiles to what one made from nothing does, whatever changed in between and in which order."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.compile import outbound_listener
from control.compile.compiler import compile_proxy
from control.compile.protobuf import LISTENER
from control.mesh_config import MeshConfig
from control.push.builder import KINDS, ContextBuilder
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.registry.objects import Key
from control.resources.kind import Kind, Object

KIND = {kind.kind: kind for kind in KINDS}


class Objects:
    """What a builder reads: objects by kind, each kind with a revision."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Object]] = {kind.resource: {} for kind in KINDS}
        self._revisions = dict.fromkeys(self._objects, 0)

    def objects(self, kind: Kind) -> Mapping[Key, Object]:
        return self._objects[kind.resource]

    def revision(self, kind: Kind) -> int:
        return self._revisions[kind.resource]

    def put(self, kind: str, namespace: str, name: str, content: Object | None) -> None:
        """None takes the object away."""
        resource, key = KIND[kind].resource, (namespace, name)
        self._revisions[resource] += 1
        if content is None:
            self._objects[resource].pop(key, None)
            return
        meta = {"name": name, "namespace": namespace, "creationTimestamp": f"2026-01-01T00:00:0{len(name)}Z"}
        made = {"kind": kind, **copy.deepcopy(content)}
        made["metadata"] = {**meta, **made.get("metadata", {})}
        self._objects[resource][key] = KIND[kind].default(made)


def _ports(name: str) -> Object:
    return {"ports": [{"name": name, "port": 80, "targetPort": 8080}], "selector": {"app": "web"}}


def _two_ports() -> Object:
    ports = [{"name": "tcp", "port": 80, "targetPort": 8080}, {"name": "any", "port": 81, "targetPort": 8080}]
    return {"ports": ports, "selector": {"app": "web"}}


def _pod(ready: str, locality: str = "") -> Object:
    labels = {"app": "web", "version": "v1", "security.istio.io/tlsMode": "istio"}
    if locality:
        labels["istio-locality"] = locality
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"labels": labels}, "spec": {"containers": []}, "status": status}


def _rule(**policy: Any) -> Object:
    return {"spec": {"host": "web", "trafficPolicy": policy}}


def _routes(host: str, **rule: Any) -> Object:
    return {"spec": {"hosts": [host], "http": [{"route": [{"destination": {"host": "web"}}], **rule}]}}


HASH = {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}
NEAR = {"localityLbSetting": {"failover": [{"from": "r1", "to": "r2"}]}}
SUBSETS = {"host": "web", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
SELECTIVE = {
    "host": "web.a.svc.cluster.local",
    "workloadSelector": {"matchLabels": {"app": "web"}},
    "trafficPolicy": HASH,
}
ELSEWHERE = {
    "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web.b.svc.cluster.local"}}]}]}
}
TIMES = {"connectionPool": {"tcp": {"idleTimeout": "7s", "maxConnectionDuration": "9s"}}}
THERE = {"destination": {"host": "web.b.svc.cluster.local"}}
CONTENTS: Mapping[str, list[Object | None]] = {
    "Service": [
        None,
        {"spec": {**_ports("http"), "clusterIP": "10.96.0.1"}},
        {"spec": {**_ports("tcp"), "clusterIP": "10.96.0.2"}},
        {"spec": {**_ports("any"), "clusterIP": "10.96.0.3"}},
        {"spec": {"ports": [{"name": "http", "port": 81}], "clusterIP": "10.96.0.4"}},
        {"spec": {**_ports("http"), "clusterIP": "None"}},
        {"spec": {**_ports("http"), "clusterIP": "10.96.0.1", "trafficDistribution": "PreferClose"}},
        {"spec": {**_ports("tcp"), "clusterIP": "None"}},
        {"spec": {**_two_ports(), "clusterIP": "10.96.0.5"}},
    ],
    "Pod": [None, _pod("True"), _pod("False"), _pod("True", "r1.z1"), _pod("True", "r2.z1")],
    "VirtualService": [
        None,
        ELSEWHERE,
        _routes("web"),
        _routes("*.svc.cluster.local", timeout="1s"),
        _routes("nobody.example"),
        _routes("web", match=[{"sourceLabels": {"app": "web"}}]),
        {"spec": {"hosts": ["web"], "tcp": [{"route": [{"destination": {"host": "web", "subset": "v1"}}]}]}},
        {"spec": {"hosts": ["web"], "tcp": [{"route": [THERE], "match": [{"sourceLabels": {"app": "web"}}]}]}},
        {"spec": {"hosts": ["web"], "tcp": [{"route": [THERE], "match": [{"sourceNamespace": "b"}]}], "http": []}},
        {"spec": {"hosts": ["web"], "tls": [{"route": [THERE], "match": [{"sniHosts": ["web"], "port": 80}]}]}},
        {"spec": {"hosts": ["web"], "exportTo": ["."], "tcp": [{"route": [THERE]}]}},
    ],
    "DestinationRule": [
        None,
        _rule(**HASH),
        _rule(connectionPool={"tcp": {"maxConnections": 7, "idleTimeout": "9s"}}),
        _rule(outlierDetection={"consecutive5xxErrors": 3}, loadBalancer=NEAR),
        {"spec": SUBSETS},
        {"spec": {**SUBSETS, "exportTo": ["."]}},
        _rule(loadBalancer={"consistentHash": {"useSourceIp": True}}),
        {"spec": {"host": "web.b.svc.cluster.local", "trafficPolicy": TIMES}},
        {"spec": SELECTIVE},
    ],
    "PeerAuthentication": [
        None,
        {"spec": {"mtls": {"mode": "STRICT"}}},
        {"spec": {"mtls": {"mode": "DISABLE"}}},
        {"spec": {"selector": {"matchLabels": {"app": "web"}}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}}},
    ],
    "LocalRateLimit": [
        None,
        {"spec": {"tokenBucket": {"maxTokens": 1, "fillInterval": "1s"}}},
        {
            "spec": {
                "tokenBucket": {"maxTokens": 1, "fillInterval": "1s"},
                "routes": [{"virtualService": "web"}],
            }
        },
    ],
    "Gateway": [
        None,
        {"spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}},
    ],
}  # fmt: skip


def _proxies() -> list[Proxy]:
    def one(kind: Any, namespace: str, ip: str, labels: Mapping[str, str], vanilla: bool) -> Proxy:
        return Proxy(f"{kind}~{ip}", kind, ip, "web", namespace, labels, "sa", vanilla, {})

    return [
        one("sidecar", "a", "10.1.0.1", {"app": "web"}, False),
        one("sidecar", "a", "10.9.0.9", {"app": "other"}, False),
        one("sidecar", "b", "10.1.0.2", {"app": "web"}, True),
        one("router", "b", "10.9.0.8", {"istio": "ingressgateway"}, False),
    ]


IP = {"a": "10.1.0.1", "b": "10.1.0.2"}
# What decides most, most often: rules change while services stay.
KINDS_CHANGED = [*CONTENTS, "DestinationRule", "DestinationRule", "VirtualService"]
CHANGE = st.sampled_from(KINDS_CHANGED).flatmap(
    lambda kind: st.tuples(st.just(kind), st.sampled_from("ab"), st.sampled_from(CONTENTS[kind]))
)


def _compiled(context: PushContext) -> list[Any]:
    found = []
    for proxy in _proxies():
        resources = compile_proxy(context, proxy)
        found.append({url: {name: one.body for name, one in of.items()} for url, of in resources.items()})
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(CHANGE, min_size=1, max_size=2), min_size=3, max_size=10))
def test_what_was_compiled_before_never_shows(pushes: list[list[tuple[str, str, Object | None]]]) -> None:
    objects: Any = Objects()
    following = ContextBuilder(objects, MeshConfig())
    begin: list[tuple[str, str, Object | None]] = [
        (kind, namespace, CONTENTS[kind][1]) for kind in ("Service", "Pod") for namespace in "ab"
    ]
    begin.append(("VirtualService", "a", ELSEWHERE))
    for changes in (begin, *pushes):
        for kind, namespace, content in changes:
            if kind == "Pod" and content is not None:
                content = {**content, "status": {**content["status"], "podIP": IP[namespace]}}
            objects.put(kind, namespace, "web", content)
        fresh = ContextBuilder(objects, MeshConfig()).build()
        assert _compiled(following.build()) == _compiled(fresh)


def test_the_plain_route_beside_a_virtual_service_that_has_none_for_the_port() -> None:
    objects: Any = Objects()
    builder = ContextBuilder(objects, MeshConfig())
    for namespace in "ab":
        objects.put("Service", namespace, "web", CONTENTS["Service"][1])
    elsewhere = {"route": [{"destination": {"host": "web.b.svc.cluster.local"}}], "match": [{"port": 9999}]}
    objects.put("VirtualService", "a", "web", {"spec": {"hosts": ["web"], "http": [elsewhere]}})
    _compiled(builder.build())
    objects.put("DestinationRule", "a", "web", _rule(**HASH))
    assert _compiled(builder.build()) == _compiled(ContextBuilder(objects, MeshConfig()).build())


def test_what_does_not_matter_makes_no_new_context() -> None:
    objects: Any = Objects()
    builder = ContextBuilder(objects, MeshConfig())
    objects.put("Service", "a", "web", CONTENTS["Service"][1])
    first = builder.build()
    assert builder.build() is first
    objects.put("Service", "a", "web", {**(CONTENTS["Service"][1] or {}), "status": {"loadBalancer": {}}})
    assert builder.build() is first
    objects.put("Service", "a", "web", CONTENTS["Service"][2])
    assert builder.build() is not first


def test_a_change_compiles_only_the_listeners_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    original = outbound_listener._service_listeners

    def counted(context: PushContext, proxy: Proxy, service: Any, port: Any) -> Any:
        made.append(f"{service.name}.{service.namespace}")
        return original(context, proxy, service, port)

    monkeypatch.setattr(outbound_listener, "_service_listeners", counted)
    objects: Any = Objects()
    builder = ContextBuilder(objects, MeshConfig())
    for number in range(20):
        spec = {"ports": [{"name": "tcp", "port": 80}], "clusterIP": f"10.96.1.{number}"}
        objects.put("Service", "a", f"db-{number}", {"spec": spec})
    _compiled(builder.build())
    assert len(made) == 40  # ours and Envoy's
    rule = {"spec": {"host": "db-3", "trafficPolicy": TIMES}}
    for kind, name, content, concerned in (
        ("DestinationRule", "db-3", rule, "db-3.a"),
        ("VirtualService", "db-4", {"spec": {"hosts": ["db-4"], "tcp": [{"route": [THERE]}]}}, "db-4.a"),
        (
            "Service",
            "new",
            {"spec": {"ports": [{"name": "tcp", "port": 80}], "clusterIP": "10.96.2.1"}},
            "new.a",
        ),
    ):
        made.clear()
        objects.put(kind, "a", name, content)
        context = builder.build()
        _compiled(context)
        assert set(made) == {concerned}, (kind, made)
        assert _compiled(context) == _compiled(ContextBuilder(objects, MeshConfig()).build())


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "content"),
    [
        (
            "DestinationRule",
            "a",
            "there",
            {"spec": {"host": "web.b.svc.cluster.local", "trafficPolicy": TIMES}},
        ),
        ("Service", "b", "web", {"spec": {"ports": [{"name": "tcp", "port": 81}], "clusterIP": "10.96.0.2"}}),
        ("Service", "b", "web", None),
    ],
)
def test_a_listener_follows_what_its_rules_send_to(
    kind: str, namespace: str, name: str, content: Object | None
) -> None:
    objects: Any = Objects()
    builder = ContextBuilder(objects, MeshConfig())
    for each, address in (("a", "10.96.0.1"), ("b", "10.96.0.2")):
        objects.put("Service", each, "web", {"spec": {**_ports("tcp"), "clusterIP": address}})
    objects.put("VirtualService", "a", "web", {"spec": {"hosts": ["web"], "tcp": [{"route": [THERE]}]}})
    before = _compiled(builder.build())
    objects.put(kind, namespace, name, content)
    after = _compiled(builder.build())
    assert after == _compiled(ContextBuilder(objects, MeshConfig()).build())
    listener = "10.96.0.1_80"
    followed = before[0][LISTENER][listener] != after[0][LISTENER][listener]
    assert followed == (
        content is not None
    )  # of a service that is gone the port is that of the listener, 80 as before
