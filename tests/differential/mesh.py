"""The configuration of a client and a server sidecar that holds every scenario at once.

The resources are Istio's shapes (`bench.xds_shapes`); a scenario adds a virtual host, clusters and endpoints. Invariant:
both implementations get the same resources but for port numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench import xds_shapes as x
from bench.pki import TRUST_DOMAIN, spiffe_id
from bench.xds_server import Snapshot
from tests.differential.scenario import (
    CLIENT,
    HTTP,
    PAIR,
    REGISTRY_ONLY,
    SERVER,
    SNIFFED,
    STRICT,
    TCP,
    Json,
    Names,
    Scenario,
)

LOG_FIELDS = {
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "transport_failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%",
    "service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "cluster": "%UPSTREAM_CLUSTER_RAW%",
    "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "remote": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "sni": "%REQUESTED_SERVER_NAME%",
    "route": "%ROUTE_NAME%",
}
LOG = x.access_log("/dev/stdout", "LOG\t" + "\t".join(LOG_FIELDS.values()) + "\n")


@dataclass(frozen=True)
class Placed:
    """A scenario at one of its places, with the ports its apps listen on for one implementation."""

    scenario: Scenario
    at: str
    source: str
    """The loopback address its client connects from, its own, by which its log lines are known."""
    app_ports: dict[str, int] = field(compare=False)
    tcp_outbound: int = 0
    tcp_inbound: int = 0
    """Ports of the listeners that only this scenario uses, if it is opaque TCP."""

    @property
    def host(self) -> str:
        return f"{self.scenario.name}.{self.at}.test"

    @property
    def outbound(self) -> Names:
        return Names(self.host, f"outbound|80||{self.host}")

    @property
    def inbound(self) -> Names:
        return Names(self.host, f"inbound|80||{self.host}")


@dataclass(frozen=True)
class ListenerPorts:
    """Ports of one implementation's sidecars, by the listener a scenario names."""

    outbound: dict[str, int]
    inbound: dict[str, int]

    def of(self, placed: Placed) -> int:
        """Where the client of a placed scenario connects."""
        kind = placed.scenario.listener
        if kind == TCP:
            return placed.tcp_inbound if placed.at == SERVER else placed.tcp_outbound
        return (self.inbound if placed.at == SERVER else self.outbound)[kind]


def virtual_host(placed: Placed, names: Names, name: str, retry: Json, **more: Any) -> Json:
    """The scenario's virtual host; its own routes apply at the first sidecar of its path."""
    scenario = placed.scenario
    first = not (placed.at == PAIR and names.cluster.startswith("inbound"))
    if scenario.routes is not None and first:
        routes = scenario.routes(names)
    elif first:
        routes = [{**x.route("default", names.cluster, retry, **scenario.action), **scenario.route}]
    else:
        routes = [x.route("default", names.cluster, retry)]
    return {
        "name": name,
        "domains": [placed.host],
        "routes": routes,
        **more,
        **(scenario.virtual_host if first else {}),
    }


def chain(protocols: list[str], transport: str, filters: list[Json], **more: Any) -> Json:
    match: Json = {"transport_protocol": transport}
    if protocols:
        match["application_protocols"] = protocols
    return {"filter_chain_match": match, "filters": filters, **more}


def outbound_http(name: str, port: int, route_name: str, *, sniffed: bool = False) -> Json:
    """A shared HTTP listener; on a sniffed port other bytes go to the default chain."""
    rds = {"rds": {"config_source": x.REST, "route_config_name": route_name}}
    http = x.connection_manager(f"outbound_{name}", inbound=False, log=LOG, routes=rds)
    if not sniffed:
        return x.listener(name, port, "OUTBOUND", [], [], {"name": name, "filters": [http]})
    default = {
        "name": "PassthroughFilterChain",
        "filters": [x.tcp_proxy("BlackHoleCluster", "BlackHoleCluster", LOG)],
    }
    chains = [chain(["http/1.1", "h2c"], "raw_buffer", [http])]
    return x.listener(name, port, "OUTBOUND", ["tls_inspector", "http_inspector"], chains, default)


def outbound_tcp(placed: Placed) -> Json:
    cluster = placed.outbound.cluster
    default = {"filters": [x.tcp_proxy(cluster, cluster, LOG)]}
    return x.listener(f"tcp_{placed.host}", placed.tcp_outbound, "OUTBOUND", [], [], default)


def outbound_clusters(placed: Placed, server_port: int) -> tuple[list[Json], list[Json]]:
    """Clusters and their endpoints: the apps, or in a pair the server sidecar in mutual TLS."""
    names = placed.outbound
    wanted = {names.cluster: placed.scenario.endpoints}
    wanted |= {names.subset(name): hosts for name, hosts in placed.scenario.subsets.items()}
    pair = placed.at == PAIR
    clusters, assignments = [], []
    for cluster, hosts in wanted.items():
        ports = (
            [placed.tcp_inbound or server_port]
            if pair and hosts
            else [placed.app_ports[host] for host in hosts]
        )
        sni = f"outbound_.80_._.{placed.host}"
        clusters.append(x.eds_cluster(cluster, sans=[spiffe_id("default", "app")], sni=sni))
        assignments.append(x.endpoints(cluster, ports, mtls=pair))
    return clusters, assignments


def black_hole() -> Json:
    cluster = x.inbound_cluster("BlackHoleCluster", 1)
    del cluster["load_assignment"]["endpoints"], cluster["upstream_bind_config"]
    return cluster


def client_snapshot(placed: list[Placed], ports: ListenerPorts, secrets: list[Json]) -> Snapshot:
    ours = [one for one in placed if one.at in (CLIENT, PAIR)]
    hosts = [
        virtual_host(one, one.outbound, f"{one.host}:80", x.DEFAULT_RETRY, include_request_attempt_count=True)
        for one in ours
        if one.scenario.listener != TCP
    ]
    block_all = {
        "name": "block_all",
        "domains": ["*"],
        "routes": [{"name": "block_all", "match": {"prefix": "/"}, "direct_response": {"status": 502}}],
        "include_request_attempt_count": True,
    }
    clusters, assignments = [black_hole()], []
    for one in ours:
        found, hosts_of = outbound_clusters(one, ports.inbound[HTTP])
        clusters += found
        assignments += hosts_of
    return {
        "listeners": [
            outbound_http("0.0.0.0_80", ports.outbound[HTTP], "80"),
            outbound_http("0.0.0.0_83", ports.outbound[SNIFFED], "80", sniffed=True),
            outbound_http("0.0.0.0_81", ports.outbound[REGISTRY_ONLY], "81"),
            *(outbound_tcp(one) for one in ours if one.tcp_outbound),
        ],
        "routes": [x.route_configuration("80", hosts), x.route_configuration("81", [block_all])],
        "clusters": clusters,
        "endpoints": assignments,
        "secrets": secrets,
    }


ANY_MESH_PEER: list[Json] = [{"prefix": f"spiffe://{TRUST_DOMAIN}/"}]
WEB_TLS = x.tls_socket(["h2", "http/1.1"], ANY_MESH_PEER, server=True)
OPAQUE_TLS = x.tls_socket(["istio-peer-exchange", "h2", "http/1.1"], ANY_MESH_PEER, server=True)


def inbound_chains(kind: str, http: Json, tcp: Json) -> list[Json]:
    """PERMISSIVE on a port named http, PERMISSIVE on a sniffed port, STRICT, or PERMISSIVE opaque TCP."""
    web = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
    opaque = ["istio-peer-exchange", "istio"]
    if kind == HTTP:
        return [chain(web + opaque, "tls", [http], transport_socket=WEB_TLS), chain([], "raw_buffer", [http])]
    if kind == STRICT:
        return [chain([], "tls", [http], transport_socket=WEB_TLS)]
    if kind == TCP:
        return [
            chain(web + opaque, "tls", [tcp], transport_socket=OPAQUE_TLS),
            chain([], "raw_buffer", [tcp]),
        ]
    return [
        chain(web, "tls", [http], transport_socket=WEB_TLS),
        chain(["http/1.1", "h2c"], "raw_buffer", [http]),
        chain(opaque, "tls", [tcp], transport_socket=OPAQUE_TLS),
    ]


def inbound_listener(kind: str, port: int, hosts: list[Json], tcp_cluster: str) -> Json:
    name = f"0.0.0.0_{kind}_{port}" if kind == TCP else f"0.0.0.0_{kind}"
    routes = {"route_config": {"name": "inbound|80||", "validate_clusters": False, "virtual_hosts": hosts}}
    http = x.connection_manager(f"inbound_{kind}", inbound=True, log=LOG, routes=routes)
    tcp = x.tcp_proxy(tcp_cluster, tcp_cluster, LOG)
    chains = [{"name": f"{name}_{i}", **found} for i, found in enumerate(inbound_chains(kind, http, tcp))]
    filters = ["original_dst", "tls_inspector", *(["http_inspector"] if kind == SNIFFED else [])]
    found = x.listener(name, port, "INBOUND", filters, chains, {"name": f"{name}_default", "filters": [tcp]})
    if kind != SNIFFED:
        del found["default_filter_chain"]
    return found


def server_snapshot(placed: list[Placed], ports: ListenerPorts, secrets: list[Json]) -> Snapshot:
    ours = [one for one in placed if one.at in (SERVER, PAIR)]
    web = [one for one in ours if one.scenario.listener != TCP]
    hosts = [virtual_host(one, one.inbound, f"inbound|http|{one.host}", x.INBOUND_RETRY) for one in web]
    clusters = [
        x.inbound_cluster(one.inbound.cluster, one.app_ports[one.scenario.endpoints[0]])
        for one in ours
        if one.scenario.endpoints
    ]
    listeners = [
        inbound_listener(kind, ports.inbound[kind], hosts, "BlackHoleCluster")
        for kind in (HTTP, SNIFFED, STRICT)
    ]
    listeners += [
        inbound_listener(TCP, one.tcp_inbound, [], one.inbound.cluster) for one in ours if one.tcp_inbound
    ]
    return {
        "listeners": listeners,
        "routes": [],
        "clusters": [black_hole(), *clusters],
        "endpoints": [],
        "secrets": secrets,
    }
