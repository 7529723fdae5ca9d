"""HTTP/1.1 keep-alive through two sidecars with mutual TLS between them: the mesh's everyday request.

1 KiB answers, 32 connections, access log on. The open loop runs at 1000 requests/s, the rate of Istio's own
published measurements.
"""

from __future__ import annotations

from bench import xds_shapes as x
from bench.pki import TRUST_DOMAIN, Authority, spiffe_id
from bench.workloads.workload import Ports, Workload
from bench.xds_server import Snapshot

SERVICE = "app.default.svc.cluster.local"
OUTBOUND = f"outbound|9080||{SERVICE}"
INBOUND = "inbound|9080||"
LOG = x.access_log("/dev/stdout")


def client_snapshot(ports: Ports, authority: Authority) -> Snapshot:
    http = x.connection_manager(
        "outbound_0.0.0.0_9080",
        inbound=False,
        log=LOG,
        routes={"rds": {"config_source": x.REST, "route_config_name": "9080"}},
    )
    listener = x.listener(
        "0.0.0.0_9080",
        ports.client,
        "OUTBOUND",
        ["tls_inspector", "http_inspector"],
        [
            {
                "filter_chain_match": {
                    "transport_protocol": "raw_buffer",
                    "application_protocols": ["http/1.1", "h2c"],
                },
                "filters": [http],
            }
        ],
        {
            "name": "PassthroughFilterChain",
            "filters": [x.tcp_proxy("PassthroughCluster", "PassthroughCluster", LOG)],
        },
    )
    virtual_host = {
        "name": f"{SERVICE}:9080",
        "domains": [SERVICE, "app"],
        "include_request_attempt_count": True,
        "routes": [
            {
                **x.route("default", OUTBOUND, x.DEFAULT_RETRY),
                "decorator": {"operation": f"{SERVICE}:9080/*"},
            }
        ],
    }
    cluster = x.eds_cluster(OUTBOUND, sans=[spiffe_id("default", "app")], sni=f"outbound_.9080_._.{SERVICE}")
    return {
        "listeners": [listener],
        "routes": [x.route_configuration("9080", [virtual_host])],
        "clusters": [cluster, x.original_dst_cluster("PassthroughCluster")],
        "endpoints": [x.endpoints(OUTBOUND, [ports.server], mtls=True)],
        "secrets": authority.secrets(spiffe_id("default", "client")),
    }


def server_snapshot(ports: Ports, authority: Authority) -> Snapshot:
    routes = {
        "route_config": {
            "name": INBOUND,
            "validate_clusters": False,
            "virtual_hosts": [
                {
                    "name": "inbound|http|9080",
                    "domains": ["*"],
                    "routes": [x.route("default", INBOUND, x.INBOUND_RETRY)],
                }
            ],
        }
    }
    http = x.connection_manager("inbound_0.0.0.0_9080", inbound=True, log=LOG, routes=routes)
    tls = x.tls_socket(["h2", "http/1.1"], [{"prefix": f"spiffe://{TRUST_DOMAIN}/"}], server=True)
    chains = [
        {
            "name": "0.0.0.0_9080",
            "filter_chain_match": {"transport_protocol": "tls", "application_protocols": x.ISTIO_ALPNS},
            "transport_socket": tls,
            "filters": [http],
        },
        {
            "name": "0.0.0.0_9080",
            "filter_chain_match": {
                "transport_protocol": "raw_buffer",
                "application_protocols": ["http/1.1", "h2c"],
            },
            "filters": [http],
        },
    ]
    listener = x.listener(
        "virtualInbound",
        ports.server,
        "INBOUND",
        ["original_dst", "tls_inspector", "http_inspector"],
        chains,
        {
            "name": "virtualInbound",
            "filters": [x.tcp_proxy("InboundPassthroughCluster", "InboundPassthroughCluster", LOG)],
        },
    )
    return {
        "listeners": [listener],
        "routes": [],
        "clusters": [
            x.inbound_cluster(INBOUND, ports.upstream),
            x.original_dst_cluster("InboundPassthroughCluster"),
        ],
        "endpoints": [],
        "secrets": authority.secrets(spiffe_id("default", "app")),
    }


def snapshots(ports: Ports, authority: Authority) -> tuple[Snapshot, Snapshot]:
    return client_snapshot(ports, authority), server_snapshot(ports, authority)


WORKLOAD = Workload(
    name="http1_mtls",
    title="HTTP/1.1 keep-alive, mTLS, 1 KiB answers, 32 connections",
    host=SERVICE,
    connections=32,
    body_bytes=1024,
    rate=1000.0,
    snapshots=snapshots,
)
