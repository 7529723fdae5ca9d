"""Admin `/config_dump`: what this sidecar runs with, in Envoy's ConfigDump messages.

Pure: assembles what it is given; private keys never get here unredacted. Reference: envoy.admin.v3.ConfigDump, Envoy
source/server/admin/config_dump_handler.cc; compared with a real Envoy's page in the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.admin.http_server import JSON, Response
from proxy.admin.regex import RegexError, compile_regex
from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from proxy.tls.secrets import CertificateSecret, SecretStore
from proxy.xds.resources import Resource, Resources

_ADMIN = "type.googleapis.com/envoy.admin.v3."
_Messages = dict[str, Callable[[], dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything a dump is made of. `refused` is the listener update refused last, if it still stands."""

    bootstrap: Mapping[str, Any]
    static: Mapping[str, tuple[Mapping[str, Any], ...]]  # resource type → resources of the bootstrap
    started: float  # seconds since the epoch
    resources: Resources
    version: str
    secrets: SecretStore
    refused: tuple[str, str, float] | None = None  # version, reason, time


def render(sources: Sources, query: Mapping[str, str]) -> Response:
    """Answer `/config_dump` with `resource`, `mask`, `name_regex` and `include_eds`."""
    try:
        keep = _name_filter(query.get("name_regex", ""))
    except RegexError as error:
        return Response(
            f"INVALID_ARGUMENT: Error while parsing name_regex from {query['name_regex']}: {error}", 400
        )
    messages = _messages(sources, keep, "include_eds" in query)
    wanted, mask = query.get("resource", ""), query.get("mask", "")
    if wanted:
        return _one_field(messages, wanted, mask)
    dumps = [_present(make()) for make in messages.values()]
    if mask:
        dumps = [masked for dump in dumps if len(masked := _masked(dump, mask.split(","))) > 1]
        if not dumps:
            return Response(f"FieldMask {mask} could not be successfully applied to any configs.", 400)
    return _json({"configs": dumps})


def _json(value: object) -> Response:
    return Response(json.dumps(value, indent=1, ensure_ascii=False) + "\n", content_type=JSON)


def _name_filter(pattern: str) -> Callable[[str], bool]:
    if not pattern:
        return lambda _: True
    full = compile_regex(pattern).fullmatch
    return lambda name: full(name) is not None


def _one_field(messages: _Messages, wanted: str, mask: str) -> Response:
    owner = next((message for message, items in _ITEM_TYPES.items() if wanted in items), "")
    for message, make in messages.items():
        if owner and message != owner:
            continue  # of a big mesh each takes milliseconds
        dump = _present(make())
        if wanted not in dump:
            continue
        if not isinstance(dump[wanted], list):
            return Response(
                f"{wanted} is not a repeated field. Use ?mask={wanted} to get only this field", 400
            )
        kind = dump["@type"] + "." + _ITEM_TYPES[message][wanted]
        items = [_masked(item, mask.split(",")) if mask else item for item in dump[wanted]]
        return _json({"configs": [{"@type": kind, **item} for item in items]})
    if owner:
        return _json({})
    return Response(f"{wanted} not found in config dump", 404)


_ITEM_TYPES = {
    "ClustersConfigDump": {
        "static_clusters": "StaticCluster",
        "dynamic_active_clusters": "DynamicCluster",
        "dynamic_warming_clusters": "DynamicCluster",
    },
    "EndpointsConfigDump": {
        "static_endpoint_configs": "StaticEndpointConfig",
        "dynamic_endpoint_configs": "DynamicEndpointConfig",
    },
    "ListenersConfigDump": {
        "static_listeners": "StaticListener",
        "dynamic_listeners": "DynamicListener",
    },
    "RoutesConfigDump": {
        "static_route_configs": "StaticRouteConfig",
        "dynamic_route_configs": "DynamicRouteConfig",
    },
    "SecretsConfigDump": {
        "static_secrets": "StaticSecret",
        "dynamic_active_secrets": "DynamicSecret",
        "dynamic_warming_secrets": "DynamicSecret",
    },
}


def _masked(value: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Keep the dotted `paths` of a message, and `@type` wherever something is kept."""
    kept: dict[str, Any] = {}
    for path in paths:
        first, _, rest = path.partition(".")
        if first not in value:
            continue
        inner = value[first]
        # A mask ends at a repeated field, as protobuf's does.
        kept[first] = (
            kept.get(first, {}) | _masked(inner, [rest]) if rest and isinstance(inner, Mapping) else inner
        )
    return {"@type": value["@type"], **kept} if "@type" in value else kept


def _messages(sources: Sources, keep: Callable[[str], bool], include_eds: bool) -> _Messages:
    """How to make each message of a dump, in their order."""
    bootstrap = {"bootstrap": sources.bootstrap, "last_updated": timestamp(sources.started)}
    makes: _Messages = {
        "BootstrapConfigDump": lambda: {"@type": _ADMIN + "BootstrapConfigDump", **bootstrap},
        "ClustersConfigDump": lambda: _clusters(sources, keep),
        "EndpointsConfigDump": lambda: _endpoints(sources, keep),
        "ListenersConfigDump": lambda: _listeners(sources, keep),
        "ScopedRoutesConfigDump": lambda: {"@type": _ADMIN + "ScopedRoutesConfigDump"},
        "RoutesConfigDump": lambda: _routes(sources, keep),
        "SecretsConfigDump": lambda: _secrets(sources.secrets, keep),
    }
    if not include_eds:
        del makes["EndpointsConfigDump"]
    return makes


def _present(dump: dict[str, Any]) -> dict[str, Any]:
    """Envoy leaves empty lists out."""
    return {k: v for k, v in dump.items() if v != [] and v != ""}


def _clusters(sources: Sources, keep: Callable[[str], bool]) -> dict[str, Any]:
    return {
        "@type": _ADMIN + "ClustersConfigDump",
        "version_info": sources.version,
        "static_clusters": _static(sources, CLUSTER, "cluster", keep),
        "dynamic_active_clusters": [_versioned("cluster", r, CLUSTER) for r in _of(sources, CLUSTER, keep)],
    }


def _listeners(sources: Sources, keep: Callable[[str], bool]) -> dict[str, Any]:
    dynamic = [
        {"name": r.name, "active_state": _versioned("listener", r, LISTENER)}
        for r in _of(sources, LISTENER, keep)
    ]
    if sources.refused is not None:
        version, reason, when = sources.refused
        state = {"last_update_attempt": timestamp(when), "details": reason, "version_info": version}
        dynamic.append({"name": "", "error_state": state})
    return {
        "@type": _ADMIN + "ListenersConfigDump",
        "version_info": sources.version,
        "static_listeners": _static(sources, LISTENER, "listener", keep),
        "dynamic_listeners": dynamic,
    }


def _routes(sources: Sources, keep: Callable[[str], bool]) -> dict[str, Any]:
    inline = [
        {"route_config": {"@type": ROUTE, **config}, "last_updated": timestamp(updated)}
        for config, updated in _inline_routes(sources)
        if keep(str(config.get("name", "")))
    ]
    return {
        "@type": _ADMIN + "RoutesConfigDump",
        "static_route_configs": inline,
        "dynamic_route_configs": [_versioned("route_config", r, ROUTE) for r in _of(sources, ROUTE, keep)],
    }


def _inline_routes(sources: Sources) -> Iterable[tuple[Mapping[str, Any], float]]:
    """Route configurations inside listeners: Envoy lists those as static."""
    listeners = [(config, sources.started) for config in sources.static.get(LISTENER, ())]
    listeners += [(json.loads(bytes(r.raw)), r.updated) for r in sources.resources.get(LISTENER, {}).values()]
    for listener, updated in listeners:
        chains = [*listener.get("filter_chains", ()), *filter(None, [listener.get("default_filter_chain")])]
        for filters in (chain.get("filters", ()) for chain in chains):
            for each in filters:
                config = each.get("typed_config", {}).get("route_config")
                if config is not None:
                    yield config, updated


def _endpoints(sources: Sources, keep: Callable[[str], bool]) -> dict[str, Any]:
    static = [
        {"endpoint_config": {"@type": ENDPOINT, **cluster["load_assignment"]}}
        for cluster in sources.static.get(CLUSTER, ())
        if "load_assignment" in cluster and keep(str(cluster.get("name")))
    ]
    dynamic = [{"endpoint_config": _body(r, ENDPOINT)} for r in _of(sources, ENDPOINT, keep)]
    return {
        "@type": _ADMIN + "EndpointsConfigDump",
        "static_endpoint_configs": static,
        "dynamic_endpoint_configs": dynamic,
    }


def _secrets(secrets: SecretStore, keep: Callable[[str], bool]) -> dict[str, Any]:
    dynamic = []
    for secret in secrets.all():
        if not keep(secret.name):
            continue
        if isinstance(secret, CertificateSecret):
            chain = {"certificate_chain": _inline(secret.chain_pem), "private_key": _inline("[redacted]")}
            value: dict[str, Any] = {"tls_certificate": chain}
        else:
            value = {"validation_context": {"trusted_ca": _inline(secret.trusted_ca_pem)}}
        dynamic.append(
            {
                "name": secret.name,
                "version_info": secret.version or timestamp(secret.updated),
                "last_updated": timestamp(secret.updated),
                "secret": {"@type": SECRET, "name": secret.name, **value},
            }
        )
    return {"@type": _ADMIN + "SecretsConfigDump", "dynamic_active_secrets": dynamic}


def _inline(text: str) -> dict[str, str]:
    return {"inline_string": text}


def _of(sources: Sources, type_url: str, keep: Callable[[str], bool]) -> list[Resource]:
    found = sources.resources.get(type_url, {})
    return [found[name] for name in sorted(found) if keep(name)]


def _static(sources: Sources, type_url: str, field: str, keep: Callable[[str], bool]) -> list[dict[str, Any]]:
    return [
        {field: {"@type": type_url, **config}, "last_updated": timestamp(sources.started)}
        for config in sources.static.get(type_url, ())
        if keep(str(config.get("name", "")))
    ]


def _versioned(field: str, resource: Resource, type_url: str) -> dict[str, Any]:
    return {
        "version_info": resource.version,
        field: _body(resource, type_url),
        "last_updated": timestamp(resource.updated),
    }


def _body(resource: Resource, type_url: str) -> dict[str, Any]:
    return {"@type": type_url, **json.loads(bytes(resource.raw))}


def timestamp(seconds: float) -> str:
    """A protobuf Timestamp with milliseconds, as Envoy prints it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
