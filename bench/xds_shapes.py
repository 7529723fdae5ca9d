"""Envoy xDS resources in the shape Istio gives a sidecar, on loopback ports instead of captured addresses.

Each function is one resource or a part of one; callers overlay what their case changes. What is Istio's and must
stay so: filter and chain names, ALPN lists, auto-mTLS by endpoint label, default retries, unlimited circuit breakers,
the access log line, bind to 127.0.0.6. What loopback changes: a listener binds its own port, and an inbound cluster is
STATIC where Istio's is ORIGINAL_DST. References: Istio `pilot/pkg/networking/core`, Envoy API v3.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
T = "type.googleapis.com/"
REST: Json = {
    "api_config_source": {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": ["xds-rest"],
        "request_timeout": "60s",
        "refresh_delay": "1s",
    },
    "resource_api_version": "V3",
    "initial_fetch_timeout": "0s",
}
ACCESS_LOG_LINE = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" '
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" '
    "%UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
ISTIO_ALPNS = ["istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
DEFAULT_RETRY: Json = {
    "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
    "num_retries": 2,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {
                "@type": T + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
            },
        }
    ],
    "host_selection_retry_max_attempts": "5",
}
INBOUND_RETRY: Json = {"retry_on": "reset-before-request", "num_retries": 2}
NO_STREAM_LIMIT: Json = {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"}


def address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def typed(name: str, proto: str, **fields: Any) -> Json:
    """A named extension with its typed configuration."""
    return {"name": name, "typed_config": {"@type": T + proto, **fields}}


def access_log(path: str, line: str = ACCESS_LOG_LINE) -> Json:
    return typed(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=path,
        log_format={"text_format_source": {"inline_string": line}},
    )


def tls_socket(alpn: list[str], sans: list[Json], *, server: bool, sni: str = "") -> Json:
    """An Istio mTLS transport socket; `sans` are string matchers for the peer's URI SAN."""
    context: Json = {
        "common_tls_context": {
            "alpn_protocols": alpn,
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": REST}],
            "combined_validation_context": {
                "default_validation_context": {
                    "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": san} for san in sans]
                },
                "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": REST},
            },
        }
    }
    if server:
        proto = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
        context["require_client_certificate"] = True
    else:
        proto = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
        context["sni"] = sni
    return typed("envoy.transport_sockets.tls", proto, **context)


LISTENER_FILTERS = {
    "original_dst": typed(
        "envoy.filters.listener.original_dst", "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
    ),
    "tls_inspector": typed(
        "envoy.filters.listener.tls_inspector",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ),
    "http_inspector": typed(
        "envoy.filters.listener.http_inspector",
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    ),
}
ROUTER = typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")
# Istio's own Envoy has an `istio.alpn` filter; this is what does the same in vanilla Envoy.
ALPN = typed(
    "istio.alpn",
    "envoy.extensions.filters.http.set_filter_state.v3.Config",
    on_request_headers=[
        {
            "object_key": "envoy.network.application_protocols",
            "format_string": {"text_format_source": {"inline_string": "istio-http/1.1,istio,http/1.1"}},
            "shared_with_upstream": "ONCE",
        }
    ],
)


def connection_manager(prefix: str, *, inbound: bool, log: Json, routes: Json) -> Json:
    """Istio's HTTP connection manager; `routes` is `{"rds": …}` or `{"route_config": …}`."""
    fields: Json = {
        "stat_prefix": prefix,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "stream_idle_timeout": "0s",
        "use_remote_address": False,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "server_name": "istio-envoy" if inbound else "envoy",
        "http_filters": [ROUTER] if inbound else [ALPN, ROUTER],
        "access_log": [log],
        **routes,
    }
    if inbound:
        fields["forward_client_cert_details"] = "APPEND_FORWARD"
        fields["set_current_client_cert_details"] = {"subject": True, "dns": True, "uri": True}
    return typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **fields,
    )


def tcp_proxy(prefix: str, cluster: str, log: Json) -> Json:
    return typed(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=prefix,
        cluster=cluster,
        access_log=[log],
    )


def listener(
    name: str, port: int, direction: str, filters: list[str], chains: list[Json], default: Json
) -> Json:
    """A listener on a loopback port; `filters` name LISTENER_FILTERS in order, `default` is the last chain."""
    return {
        "@type": T + "envoy.config.listener.v3.Listener",
        "name": name,
        "address": address("127.0.0.1", port),
        "traffic_direction": direction,
        "listener_filters": [LISTENER_FILTERS[key] for key in filters],
        "listener_filters_timeout": "0s",
        "continue_on_listener_filters_timeout": True,
        "filter_chains": chains,
        "default_filter_chain": default,
    }


def route(name: str, cluster: str, retry: Json, /, **fields: Any) -> Json:
    """A route for every path to one cluster; `fields` go into the action.

    Without a timeout Istio also sets `max_stream_duration`, and only then: beside it Envoy ignores `timeout`.
    """
    action = {"cluster": cluster, "timeout": "0s", "retry_policy": retry, **fields}
    if action["timeout"] == "0s":
        action.setdefault("max_stream_duration", NO_STREAM_LIMIT)
    return {"name": name, "match": {"prefix": "/"}, "route": action}


def eds_cluster(name: str, *, sans: list[str], sni: str) -> Json:
    """An outbound cluster with auto-mTLS: endpoints labelled `tlsMode: istio` get TLS, others plaintext."""
    limits = dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), 4294967295
    )
    http = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        "@type": T + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": REST, "service_name": name},
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "typed_extension_protocol_options": {
            http: {"@type": T + http, "explicit_http_config": {"http_protocol_options": {}}}
        },
        "transport_socket_matches": [
            {
                "name": "tlsMode-istio",
                "match": {"tlsMode": "istio"},
                "transport_socket": tls_socket(
                    ["istio-peer-exchange", "istio"], [{"exact": san} for san in sans], server=False, sni=sni
                ),
            },
            {
                "name": "tlsMode-disabled",
                "match": {},
                "transport_socket": typed(
                    "envoy.transport_sockets.raw_buffer",
                    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
                ),
            },
        ],
    }


def endpoints(cluster: str, ports: list[int], *, mtls: bool) -> Json:
    """The assignment of a cluster: loopback ports of equal weight in one locality."""
    metadata: Json = {"istio": {"workload": "app-v1;default;app;v1;Kubernetes"}}
    if mtls:
        metadata["envoy.transport_socket_match"] = {"tlsMode": "istio"}
    hosts = [
        {
            "endpoint": {"address": address("127.0.0.1", port)},
            "health_status": "HEALTHY",
            "load_balancing_weight": 1,
            "metadata": {"filter_metadata": metadata},
        }
        for port in ports
    ]
    locality = {"locality": {}, "lb_endpoints": hosts, "load_balancing_weight": max(1, len(hosts))}
    return {
        "@type": T + "envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [locality] if hosts else [],
    }


def inbound_cluster(name: str, port: int) -> Json:
    """The app's own port, reached from 127.0.0.6 so that capture rules leave the connection alone."""
    assignment = endpoints(name, [port], mtls=False)
    host = assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    return {
        "@type": T + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": host}]}]},
        "upstream_bind_config": {"source_address": {"address": "127.0.0.6", "port_value": 0}},
    }


def original_dst_cluster(name: str) -> Json:
    """Sends to wherever the connection was going."""
    return {
        "@type": T + "envoy.config.cluster.v3.Cluster",
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "10s",
    }


def route_configuration(name: str, virtual_hosts: list[Json]) -> Json:
    return {
        "@type": T + "envoy.config.route.v3.RouteConfiguration",
        "name": name,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": 1048576,
        "virtual_hosts": virtual_hosts,
    }
