"""What the tests of budgets measure: one kept-alive exchange, again and again, without sockets.

The recorded tables (budget_recorded.json) say where each figure came from when it was last looked at, so that a failure names
what grew. They are no limits: those stand in the tests. `python -m tests.unit.proxy.test_budget` records them anew.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from bench.compiled import client_snapshot, server_snapshot
from bench.pki import Authority, spiffe_id
from proxy import clock
from proxy.data_plane import Services
from proxy.http.filters.peer_metadata import PeerMetadataParts
from proxy.observability import peer_struct
from proxy.observability.access_log import AccessLogs
from proxy.observability.istio_metrics import IstioMetrics
from proxy.observability.stats import StatsStore
from proxy.observability.workload import workload_of_node
from proxy.tls.peer import PeerIdentity
from proxy.tls.secrets import ROOT, WORKLOAD, SecretStore
from tests.unit.proxy.in_memory import (
    ROUTER,
    FakeSocket,
    Mesh,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)

RECORDED = Path(__file__).with_name("budget_recorded.json")
REQUEST = b"GET /x HTTP/1.1\r\nhost: reviews:9080\r\nuser-agent: t\r\naccept: */*\r\nx-request-id: 1\r\n\r\n"
IN_MESH = REQUEST.replace(b"reviews:9080", b"app.default.svc.cluster.local")
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
ROUTE = {
    "match": {"prefix": "/"},
    "route": {
        "cluster": "up",
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,cancelled",
            "num_retries": 2,
        },
    },
}

_FILTERS = "type.googleapis.com/envoy.extensions.filters.http."
FILTERS = {
    "envoy.filters.http.cors": _FILTERS + "cors.v3.Cors",
    "envoy.filters.http.fault": _FILTERS + "fault.v3.HTTPFault",
}
FEATURES: dict[str, Any] = {
    "match": {"prefix": "/other", "headers": [{"name": "x-user", "present_match": True}]},
    "route": {
        "cluster": "other",
        "timeout": "1s",
        "retry_policy": {"retry_on": "5xx,reset", "num_retries": 3, "per_try_timeout": "0.1s"},
        "request_mirror_policies": [{"cluster": "other"}],
        "hash_policy": [{"header": {"header_name": "x-user"}}],
        "prefix_rewrite": "/",
    },
    "request_headers_to_add": [{"header": {"key": "x-added", "value": "%REQ(X-USER)%"}}],
    "typed_per_filter_config": {
        "envoy.filters.http.fault": {
            "@type": _FILTERS + "fault.v3.HTTPFault",
            "abort": {"http_status": 500, "percentage": {"numerator": 1}},
        }
    },
}


class Exchange:
    """A client's connection and an upstream's; calling it sends one request and its response over both."""

    def __init__(self, mesh: Mesh, client: FakeSocket, request: bytes = REQUEST) -> None:
        self.mesh = mesh
        self.client = client
        self.request = request
        self.settle: Callable[[], None] = lambda: None
        """Empties what is filled on purpose: the access log's buffer."""
        self.new_client: Callable[[], FakeSocket] = mesh.client
        self()
        self()

    def __call__(self) -> None:
        self.send()
        self.answer()

    def connect(self) -> None:
        """One more client asks, and stays."""
        self.client = self.new_client()
        self()

    def send(self) -> None:
        """The request, up to where it waits for the upstream."""
        self.client.receive(self.request)
        self.mesh.run()

    def answer(self) -> None:
        upstream = self.mesh.upstream
        upstream.receive(RESPONSE)
        self.mesh.run()
        assert self.client.sent.startswith(b"HTTP/1.1 200")
        assert self.client.sent.endswith(b"ok")
        upstream.sent.clear()
        self.client.sent.clear()


@contextlib.contextmanager
def exchange(configuration: str) -> Iterator[Exchange]:
    """The exchange `plain`, or as the sidecar of a `client` or a `server`, warm: what runs for the first time has run."""
    with (
        mock.patch.object(clock, "wall", _one_moment),
        contextlib.nullcontext(PLAIN[configuration]())
        if configuration in PLAIN
        else in_mesh(configuration) as found,
    ):
        for _ in range(32):
            found()
        yield found


def _one_moment() -> float:
    """The wall clock: with a new second the texts of times are rendered anew, which counts."""
    return 1.8e9


def plain() -> Exchange:
    """A route to a cluster, with Istio's retries armed, and nothing else."""
    return _exchange([ROUTE])


def beside_a_route() -> Exchange:
    """`plain`, behind a route that the request does not take."""
    return _exchange([{"match": FEATURES["match"], "route": {"cluster": "other"}}, ROUTE])


def beside_features() -> Exchange:
    """The same, with every feature on that route and its cluster, and Istio's filters in the chain."""
    limits = {"thresholds": [{"max_connections": 1, "max_pending_requests": 1, "max_retries": 1}]}
    filters = [{"name": name, "typed_config": {"@type": type_}} for name, type_ in FILTERS.items()]
    return _exchange(
        [FEATURES, ROUTE],
        {"outlier_detection": {"interval": "1s"}, "circuit_breakers": limits},
        http_filters=[*filters, ROUTER],
    )


def _exchange(
    routes: list[dict[str, Any]], other: Mapping[str, Any] | None = None, **manager: Any
) -> Exchange:
    clusters = [
        static_cluster("up", ("10.0.0.7", 80)),
        static_cluster("other", ("10.0.0.8", 80), **(other or {})),
    ]
    mesh = Mesh(snapshot(clusters=clusters, listeners=[listener(connection_manager(routes, **manager))]))
    return Exchange(mesh, mesh.client())


PLAIN: dict[str, Callable[[], Exchange]] = {
    "plain": plain,
    "beside a route": beside_a_route,
    "beside features": beside_features,
}


@contextlib.contextmanager
def in_mesh(role: str) -> Iterator[Exchange]:
    """The `client`'s or the `server`'s sidecar as our control plane configures it: access log, metrics, STRICT mutual TLS.

    Only the encryption is left out: sockets here hold plaintext, whatever the configuration says.
    """
    stats = StatsStore()
    logs, secrets = AccessLogs(stats), _secrets(role)
    metrics = IstioMetrics(stats, workload_of_node({}), lambda: secrets.own_uri_san, "1")
    services = Services(
        stats=stats,
        secrets=secrets,
        access_loggers=logs.loggers,
        istio_http_stats=metrics.http_logger,
        peer_metadata=PeerMetadataParts(b"id", b"", peer_struct.decode),
        local_uri_san=lambda: secrets.own_uri_san,
    )
    mesh = Mesh(snapshot(**_resources(role)), services)
    (name,) = mesh.plane.listeners.listeners
    facts: dict[str, Any] = {}
    if role == "server":
        peer = PeerIdentity((spiffe_id("default", "client"),), (), "", "ab" * 32)
        facts = {"tls": True, "peer": peer, "local_uri_san": secrets.own_uri_san}
        facts["sni"] = "outbound_.9080_._.app.default.svc.cluster.local"
    new_client = partial(mesh.client, name, chain=_http_chain(mesh, name, role), **facts)
    found = Exchange(mesh, new_client(), IN_MESH)
    found.settle, found.new_client = logs.flush, new_client
    try:
        yield found
    finally:
        logs.close()


def _secrets(role: str) -> SecretStore:
    authority, secrets = Authority(), SecretStore()
    secrets.set_certificate(WORKLOAD, *authority.issue(spiffe_id("default", role)))
    secrets.set_validation(ROOT, authority.root_pem)
    return secrets


def _resources(role: str) -> dict[str, Any]:
    compiled = (client_snapshot if role == "client" else server_snapshot)(1, 9080, False, Authority())
    resources = json.loads(json.dumps(compiled).replace("/dev/stdout", os.devnull))
    del resources["secrets"]
    resources["listeners"][0]["bind_to_port"] = False
    return resources  # type: ignore[no-any-return]


def _http_chain(mesh: Mesh, name: str, role: str) -> int:
    """Where the connections of `role` arrive."""
    chains = mesh.plane.listeners.listeners[name].chains
    return next(
        number
        for number, chain in enumerate(chains)
        if type(chain.network_filter).__name__ == "HttpNetworkFilter"
        and (chain.tls is not None) == (role == "server")
    )


def recorded(name: str) -> Counter[str]:
    """The table of one budget as it was recorded."""
    return Counter(json.loads(RECORDED.read_text()).get(name, {}))


def growth(name: str, found: Mapping[str, int]) -> str:
    """What a failure says of a figure: what grew since it was recorded, and its largest parts."""
    before = recorded(name)
    grown = Counter({key: count - before[key] for key, count in found.items()})
    lines = [f"{name}: {sum(found.values())}, recorded were {before.total()}", "grown:"]
    lines += [f"  {by:+4} to {found[key]} {key}" for key, by in grown.most_common() if by > 0]
    lines += ["gone:", *(f"  {before[key]:4} {key}" for key in before if key not in found)]
    lines += ["largest:", *(f"  {count:4} {key}" for key, count in Counter(found).most_common(40))]
    return "\n".join(lines)
