"""What a sidecar needs before it hears from the control plane, as one value.

Read from an Envoy bootstrap file (`python -m proxy -c FILE`) or from the environment the injector writes
(`python -m proxy sidecar|router`). Decides ports and defaults; resolves no name and opens no socket. A bootstrap
that cannot be used raises `SettingsError` with the path of the field.
Reference: envoy.config.bootstrap.v3.Bootstrap; ARCHITECTURE.md, "Processes".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.agent.environment import Settings, SettingsError
from proxy.config.decode import ConfigError, convert
from proxy.config.stats import StatsConfig, StatsMatcher

XDS_CLUSTER = "xds-rest"
_MOST_WORKERS = 1024  # each is a process
_UNLIMITED = {
    "max_connections": 100000,
    "max_pending_requests": 100000,
    "max_requests": 100000,
    "max_retries": 3,
}
_BOOTSTRAP_KEYS = {
    "node", "admin", "dynamic_resources", "static_resources", "stats_config", "layered_runtime", "stats_sinks",
    "overload_manager", "cluster_manager",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The start configuration. `raw` is the bootstrap as `/config_dump` shows it.

    `aggregated` polls one snapshot per push from a Glassmesh control plane with token and TLS; otherwise each
    resource type is polled alone, as Envoy does, from `xds_address`. Without `xds_address` there are static resources only.
    """

    raw: Mapping[str, Any]
    node: Mapping[str, Any]
    admin_address: tuple[str, int] | None
    xds_address: tuple[str, int] | None
    aggregated: bool = False
    settings: Settings | None = None  # only of a sidecar started from the environment
    static_listeners: tuple[Mapping[str, Any], ...] = ()
    static_clusters: tuple[Mapping[str, Any], ...] = ()
    static_secrets: tuple[Mapping[str, Any], ...] = ()
    drain_time: float = 600.0  # seconds; Envoy's own default, Istio passes 45
    file: Path | None = None
    dynamic: frozenset[str] = field(default_factory=frozenset)  # "lds", "cds"
    stats: StatsMatcher | None = None  # which there are; None: all


def from_file(path: Path) -> Bootstrap:
    """Read an Envoy bootstrap in JSON."""
    try:
        raw = json.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: want a JSON object")
    try:
        return _from_envoy(raw, path)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def from_environment(settings: Settings) -> Bootstrap:
    """The bootstrap of an injected sidecar: admin on loopback, one aggregated stream to the control plane."""
    node = settings.node("glassmesh")
    raw = {
        "node": node,
        "admin": {"address": socket_address("127.0.0.1", settings.ports.admin)},
        "dynamic_resources": {"lds_config": rest_source(), "cds_config": rest_source()},
        "static_resources": {"clusters": [xds_cluster(*settings.discovery_address)]},
    }
    return Bootstrap(
        raw=raw,
        node=node,
        admin_address=("127.0.0.1", settings.ports.admin),
        xds_address=settings.discovery_address,
        aggregated=True,
        settings=settings,
        drain_time=settings.drain_duration,
        dynamic=frozenset(("lds", "cds")),
    )


def concurrency(start: Bootstrap, option: int | None) -> int:
    """How many workers serve: the command line's, else ProxyConfig's, where 0 is one per CPU; without either one.

    Raises SettingsError.
    """
    if option is not None:
        return max(1, _workers("--concurrency", option))  # 0 as Envoy's flag
    told = start.settings.proxy_config.get("concurrency") if start.settings is not None else None
    if told is None:
        return 1
    return _workers("PROXY_CONFIG: concurrency", told) or len(os.sched_getaffinity(0))


def _workers(where: str, told: object) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:
        raise SettingsError(f"{where}: {told!r} is not a number of workers")
    if told > _MOST_WORKERS:
        raise SettingsError(f"{where}: {told} workers are more than {_MOST_WORKERS}")
    return told


def socket_address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def rest_source() -> dict[str, Any]:
    """The `config_source` that every compiled resource names, see ARCHITECTURE.md."""
    return {
        "api_config_source": {
            "api_type": "REST",
            "transport_api_version": "V3",
            "cluster_names": [XDS_CLUSTER],
            "request_timeout": "60s",
            "refresh_delay": "0.100s",
        },
        "resource_api_version": "V3",
        "initial_fetch_timeout": "0s",
    }


def xds_cluster(host: str, port: int) -> dict[str, Any]:
    """The static cluster `xds-rest`. Each EDS subscription is a long poll of its own, so the usual 1024 are too few."""
    return static_cluster(XDS_CLUSTER, host, port) | {
        "connect_timeout": "30s",  # a thousand at once take a busy machine longer than Envoy's 5 s
        "circuit_breakers": {"thresholds": [_UNLIMITED, {"priority": "HIGH", **_UNLIMITED}]},
    }


def static_cluster(name: str, host: str, port: int) -> dict[str, Any]:
    """A cluster with one fixed endpoint; a name instead of an address is resolved by Envoy."""
    numeric = host.replace(".", "").isdigit() or ":" in host
    endpoint = {"endpoint": {"address": socket_address(host, port)}}
    return {
        "name": name,
        "type": "STATIC" if numeric else "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _from_envoy(raw: Mapping[str, Any], path: Path) -> Bootstrap:
    unknown = sorted(set(raw) - _BOOTSTRAP_KEYS)
    if unknown:
        raise SettingsError(f"{unknown[0]}: not supported in a bootstrap")
    static = raw.get("static_resources") or {}
    clusters = tuple(static.get("clusters") or ())
    dynamic = raw.get("dynamic_resources") or {}
    sources = {kind for kind in ("lds", "cds") if f"{kind}_config" in dynamic}
    xds_name = next(
        (_rest_cluster(dynamic[f"{k}_config"], f"dynamic_resources.{k}_config") for k in sources), ""
    )
    node = raw.get("node") or {}
    if sources and not (node.get("id") and node.get("cluster")):
        raise SettingsError("node: 'id' and 'cluster' are needed to ask for configuration")
    admin = (raw.get("admin") or {}).get("address")
    return Bootstrap(
        raw=raw,
        node={"user_agent_name": "glassmesh", **node},
        admin_address=_address(admin, "admin.address") if admin else None,
        xds_address=_cluster_address(clusters, xds_name) if sources else None,
        static_listeners=tuple(static.get("listeners") or ()),
        static_clusters=tuple(c for c in clusters if c.get("name") != xds_name),
        static_secrets=tuple(static.get("secrets") or ()),
        file=path,
        dynamic=frozenset(sources),
        stats=_stats(raw.get("stats_config") or {}),
    )


def _stats(told: object) -> StatsMatcher | None:
    try:
        return convert("stats_config", told, StatsConfig).stats_matcher
    except ConfigError as error:
        raise SettingsError(str(error)) from None


def _rest_cluster(source: Mapping[str, Any], path: str) -> str:
    api = source.get("api_config_source") or {}
    names = api.get("cluster_names") or []
    if api.get("api_type") != "REST" or len(names) != 1:
        raise SettingsError(f"{path}: want api_config_source with api_type REST and one of cluster_names")
    return str(names[0])


def _cluster_address(clusters: tuple[Mapping[str, Any], ...], name: str) -> tuple[str, int]:
    for i, cluster in enumerate(clusters):
        if cluster.get("name") == name:
            where = f"static_resources.clusters[{i}].load_assignment"
            try:
                endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            except (KeyError, IndexError, TypeError):
                raise SettingsError(f"{where}: want one endpoint") from None
            return _address(endpoint.get("address"), where)
    raise SettingsError(f"static_resources.clusters: no cluster {name!r}, which dynamic_resources names")


def _address(value: Any, path: str) -> tuple[str, int]:
    try:
        address = value["socket_address"]
        return str(address["address"]), int(address["port_value"])
    except (KeyError, TypeError, ValueError):
        raise SettingsError(f"{path}: want socket_address with address and port_value") from None
