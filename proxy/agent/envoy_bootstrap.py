"""Writes the bootstrap of a real Envoy that runs beside the agent.

Decides the static part Istio's bootstrap has too: admin on loopback, a metrics listener on 15090, Istio's stat tags and
inclusion lists, one REST cluster for xDS. Readiness on 15021 is the agent's own.
Reference: Istio tools/packaging/common/envoy_bootstrap.json, pkg/bootstrap/config.go; reference §1.1, §1.6, §10.3.
"""

from __future__ import annotations

from typing import Any

from proxy.agent.environment import Settings
from proxy.bootstrap import (
    rest_source,
    socket_address,
    static_cluster,
    xds_cluster,
)
from proxy.observability.stats import SIDECAR_PREFIXES, SIDECAR_SUFFIXES

_T = "type.googleapis.com/"
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_IP = r"(?:[\d_.]+|[\[\]_aAbBcCdDeEfF\d]+)"
# Envoy cuts group 1 out of the name and takes group 2 as the value.
_TAGS = {
    "cluster_name": r"^cluster\.((.+?(?:\..+?\.svc\.cluster\.local)?)\.)",
    "tcp_prefix": r"^tcp\.((.*?)\.)\w+?$",
    "response_code": r"_rq(_(\d{3}))$",
    "response_code_class": r"_rq(_(\dxx))$",
    "http_conn_manager_listener_prefix": rf"^listener(?:\.).*?\.http\.(({_IP})\.)",
    "http_conn_manager_prefix": rf"^http\.((({_IP}|(?:in|out)bound_{_IP}|.*?))\.)",
    "listener_address": rf"^listener\.(({_IP})\.)",
    "authz_enforce_result": r"rbac(\.(allowed|denied))",
    "component": r"(component\.(.+?)\.)",
}


def write(settings: Settings) -> dict[str, Any]:
    """The bootstrap as a JSON object."""
    return {
        "node": settings.node("envoy"),
        "admin": {
            "address": socket_address("127.0.0.1", settings.ports.admin),
            "profile_path": "/dev/null",
        },
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in _TAGS.items()],
            "stats_matcher": {"inclusion_list": {"patterns": _inclusion(settings)}},
        },
        # Envoy's own limit of 100 refuses patterns that Istio, and our sidecar, accept.
        "layered_runtime": {
            "layers": [
                {"name": "global config", "static_layer": {"re2.max_program_size.error_level": 32768}},
                {"name": "admin", "admin_layer": {}},
            ]
        },
        "dynamic_resources": {"lds_config": rest_source(), "cds_config": rest_source()},
        "static_resources": {
            "clusters": [
                xds_cluster("127.0.0.1", settings.ports.relay),
                static_cluster("prometheus_stats", "127.0.0.1", settings.ports.admin),
            ],
            "listeners": [_stats_listener(settings.ports.stats)],
        },
    }  # fmt: skip


def _inclusion(settings: Settings) -> list[dict[str, Any]]:
    matcher = settings.proxy_config.get("proxyStatsMatcher") or {}
    prefixes = (*SIDECAR_PREFIXES, *matcher.get("inclusionPrefixes", ()))
    suffixes = (*SIDECAR_SUFFIXES, *matcher.get("inclusionSuffixes", ()))
    found = (r"vhost\..*\.route\..*", *matcher.get("inclusionRegexps", ()))
    return [
        *({"prefix": text} for text in prefixes),
        *({"suffix": text} for text in suffixes),
        *({"safe_regex": {"regex": text}} for text in found),
    ]


def _stats_listener(port: int) -> dict[str, Any]:
    route = {"match": {"prefix": "/stats/prometheus"}, "route": {"cluster": "prometheus_stats"}}
    metrics = {
        "match": {"path": "/metrics"},
        "route": {"cluster": "prometheus_stats", "prefix_rewrite": "/stats/prometheus"},
    }
    router = {"@type": _T + "envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": _T + _HCM,
        "stat_prefix": "stats",
        "codec_type": "AUTO",
        "route_config": {
            "virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [route, metrics]}]
        },
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {
        "name": "stats",
        "address": socket_address("0.0.0.0", port),
        "ignore_global_conn_limit": True,
        "filter_chains": [chain],
    }
