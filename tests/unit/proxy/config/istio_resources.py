"""Resources in the shapes Istio compiles, for our sidecar (with Istio's own filters): one of each kind of thing."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

T = "type.googleapis.com/"
_TLS = T + "envoy.extensions.transport_sockets.tls.v3."
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
HOST = "reviews.default.svc.cluster.local"
OUTBOUND = f"outbound|9080||{HOST}"


def named(name: str, kind: str, **fields: Any) -> Json:
    return {"name": name, "typed_config": {"@type": T + kind, **fields}}


def address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def tls(kind: str, alpn: list[str], peers: list[Json], **more: Any) -> Json:
    context = {
        "alpn_protocols": alpn,
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": REST}],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer} for peer in peers]
            },
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": REST},
        },
    }
    typed = {"@type": _TLS + kind, "common_tls_context": context, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


LOG = named(
    "file",
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    path="/dev/stdout",
    log_format={"text_format_source": {"inline_string": "%START_TIME% %RESPONSE_FLAGS%\n"}},
)
ROUTER = named("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")
ALPN = named(
    "istio.alpn",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
    alpn_override=[{"upstream_protocol": "HTTP11", "alpn_override": ["istio-http/1.1", "istio", "http/1.1"]}],
)
STATS = named(
    "istio.stats",
    "udpa.type.v1.TypedStruct",
    type_url=T + "stats.PluginConfig",
    value={"disable_host_header_fallback": True},
)
PEERS = named(
    "istio.peer_metadata",
    "io.istio.http.peer_metadata.Config",
    downstream_discovery=[{"istio_headers": {}}],
    downstream_propagation=[{"istio_headers": {}}],
)


def manager(prefix: str, **more: Any) -> Json:
    fields: Json = {
        "stat_prefix": prefix,
        "normalize_path": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "stream_idle_timeout": "0s",
        "use_remote_address": False,
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "access_log": [LOG],
        "http_filters": [PEERS, ALPN, STATS, ROUTER],
        **more,
    }
    kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    return named("envoy.filters.network.http_connection_manager", kind, **fields)


def tcp(cluster: str) -> Json:
    kind = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
    return named(
        "envoy.filters.network.tcp_proxy", kind, stat_prefix=cluster, cluster=cluster, idle_timeout="3600s"
    )


INSPECTORS = [
    named("original_dst", "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"),
    named("tls", "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"),
    {
        **named("http", "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector"),
        "filter_disabled": {"or_match": {"rules": [{"destination_port_range": {"start": 25, "end": 26}}]}},
    },
]
OUTBOUND_LISTENER: Json = {
    "@type": T + "envoy.config.listener.v3.Listener",
    "name": "0.0.0.0_9080",
    "address": address("0.0.0.0", 9080),
    "traffic_direction": "OUTBOUND",
    "bind_to_port": False,
    "listener_filters": INSPECTORS[1:],
    "listener_filters_timeout": "0s",
    "continue_on_listener_filters_timeout": True,
    "filter_chains": [
        {
            "filter_chain_match": {
                "transport_protocol": "raw_buffer",
                "application_protocols": ["http/1.1", "h2c"],
            },
            "filters": [manager("outbound", rds={"config_source": REST, "route_config_name": "9080"})],
        }
    ],
    "default_filter_chain": {"name": "PassthroughFilterChain", "filters": [tcp("PassthroughCluster")]},
}
_INBOUND_ROUTE: Json = {
    "name": "default",
    "match": {"prefix": "/"},
    "route": {
        "cluster": "inbound|9080||",
        "timeout": "0s",
        "retry_policy": {"retry_on": "reset-before-request", "num_retries": 2},
        "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
    },
}
INBOUND_LISTENER: Json = {
    "@type": T + "envoy.config.listener.v3.Listener",
    "name": "virtualInbound",
    "address": address("0.0.0.0", 15006),
    "traffic_direction": "INBOUND",
    "max_connections_to_accept_per_socket_event": 1,
    "listener_filters": INSPECTORS,
    "listener_filters_timeout": "0s",
    "continue_on_listener_filters_timeout": True,
    "access_log": [{**LOG, "filter": {"response_flag_filter": {"flags": ["NR"]}}}],
    "filter_chains": [
        {
            "filter_chain_match": {"destination_port": 15006},
            "name": "blackhole",
            "filters": [tcp("BlackHoleCluster")],
        },
        {
            "name": "0.0.0.0_9080",
            "filter_chain_match": {
                "destination_port": 9080,
                "transport_protocol": "tls",
                "application_protocols": ["istio-http/1.0", "istio-http/1.1", "istio-h2"],
            },
            "transport_socket": tls(
                "DownstreamTlsContext",
                ["h2", "http/1.1"],
                [{"prefix": "spiffe://cluster.local/"}],
                require_client_certificate=True,
            ),
            "filters": [
                manager(
                    "inbound",
                    server_name="istio-envoy",
                    forward_client_cert_details="APPEND_FORWARD",
                    set_current_client_cert_details={"subject": True, "dns": True, "uri": True},
                    route_config={
                        "name": "inbound|9080||",
                        "validate_clusters": False,
                        "virtual_hosts": [
                            {"name": "inbound|http|9080", "domains": ["*"], "routes": [_INBOUND_ROUTE]}
                        ],
                    },
                )
            ],
        },
    ],
}
_PREVIOUS_HOSTS = named(
    "envoy.retry_host_predicates.previous_hosts",
    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
)
ROUTES: Json = {
    "@type": T + "envoy.config.route.v3.RouteConfiguration",
    "name": "9080",
    "validate_clusters": False,
    "ignore_port_in_host_matching": True,
    "max_direct_response_body_size_bytes": 1048576,
    "virtual_hosts": [
        {
            "name": f"{HOST}:9080",
            "domains": [HOST, "reviews"],
            "include_request_attempt_count": True,
            "routes": [
                {
                    "name": "default",
                    "match": {
                        "prefix": "/",
                        "headers": [{"name": "end-user", "string_match": {"exact": "jason"}}],
                        "query_parameters": [{"name": "q", "present_match": True}],
                    },
                    "route": {
                        "cluster": OUTBOUND,
                        "timeout": "0s",
                        "retry_policy": {
                            "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                            "num_retries": 2,
                            "retry_host_predicate": [_PREVIOUS_HOSTS],
                            "host_selection_retry_max_attempts": "5",
                        },
                    },
                    "decorator": {"operation": f"{HOST}:9080/*"},
                    "metadata": {"filter_metadata": {"istio": {"config": "/apis/x"}}},
                    "request_headers_to_add": [
                        {"header": {"key": "x", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                    ],
                },
                {
                    "match": {"path_separated_prefix": "/split"},
                    "route": {
                        "weighted_clusters": {
                            "clusters": [
                                {"name": OUTBOUND, "weight": 90},
                                {
                                    "name": f"outbound|9080|v2|{HOST}",
                                    "weight": 10,
                                    "response_headers_to_remove": ["x"],
                                },
                            ]
                        },
                        "prefix_rewrite": "/",
                        "host_rewrite_literal": "other",
                    },
                },
                {
                    "match": {"safe_regex": {"regex": "/old/.*"}},
                    "redirect": {"host_redirect": "new", "response_code": "FOUND"},
                },
                {
                    "match": {"path": "/teapot", "case_sensitive": False},
                    "direct_response": {"status": 418, "body": {"inline_string": "no"}},
                },
            ],
        }
    ],
}
CLUSTER: Json = {
    "@type": T + "envoy.config.cluster.v3.Cluster",
    "name": OUTBOUND,
    "type": "EDS",
    "eds_cluster_config": {"eds_config": REST, "service_name": OUTBOUND},
    "connect_timeout": "10s",
    "lb_policy": "LEAST_REQUEST",
    "circuit_breakers": {
        "thresholds": [{"max_connections": 4294967295, "max_retries": 4294967295, "track_remaining": True}]
    },
    "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    "metadata": {
        "filter_metadata": {
            "istio": {"services": [{"host": HOST, "name": "reviews", "namespace": "default"}]}
        }
    },
    "upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 300}},
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": T + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {}},
        }
    },
    "transport_socket_matches": [
        {
            "name": "tlsMode-istio",
            "match": {"tlsMode": "istio"},
            "transport_socket": tls(
                "UpstreamTlsContext",
                ["istio-peer-exchange", "istio"],
                [{"exact": "spiffe://cluster.local/ns/default/sa/reviews"}],
                sni=f"outbound_.9080_._.{HOST}",
            ),
        },
        {
            "name": "tlsMode-disabled",
            "match": {},
            "transport_socket": named(
                "envoy.transport_sockets.raw_buffer",
                "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
            ),
        },
    ],
}
INBOUND_CLUSTER: Json = {
    "@type": T + "envoy.config.cluster.v3.Cluster",
    "name": "inbound|9080||",
    "type": "ORIGINAL_DST",
    "lb_policy": "CLUSTER_PROVIDED",
    "connect_timeout": "10s",
    "upstream_bind_config": {"source_address": {"address": "127.0.0.6", "port_value": 0}},
}
ENDPOINTS: Json = {
    "@type": T + "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "cluster_name": OUTBOUND,
    "endpoints": [
        {
            "locality": {"region": "r", "zone": "z"},
            "load_balancing_weight": 1,
            "lb_endpoints": [
                {
                    "endpoint": {"address": address("10.244.0.7", 9080)},
                    "health_status": "HEALTHY",
                    "load_balancing_weight": 1,
                    "metadata": {
                        "filter_metadata": {
                            "envoy.transport_socket_match": {"tlsMode": "istio"},
                            "istio": {"workload": "reviews-v1;default;reviews;v1;Kubernetes"},
                        }
                    },
                }
            ],
        }
    ],
}
SECRET: Json = {
    "@type": _TLS + "Secret",
    "name": "ROOTCA",
    "validation_context": {"trusted_ca": {"inline_string": "-----BEGIN CERTIFICATE-----\n"}},
}
ALL = [OUTBOUND_LISTENER, INBOUND_LISTENER, ROUTES, CLUSTER, INBOUND_CLUSTER, ENDPOINTS, SECRET]
