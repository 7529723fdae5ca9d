"""Debug pages and metrics on 15014, in the shapes of istiod's.

`/debug/config_dump` shows what was sent to a proxy, not what it holds: the proxy's own `/config_dump` on 15000 does that.
Reference: istio's pilot/pkg/xds/debug.go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from aiohttp import web

from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER, ROUTE, T
from control.push.connection import Connection
from control.push.metrics import Metrics
from control.push.proxies import Proxies
from control.registry.objects import ObjectCache
from control.resources.istio_kinds import ISTIO_KINDS

_TYPES = {"cluster": CLUSTER, "listener": LISTENER, "route": ROUTE, "endpoint": ENDPOINT}
_ADMIN = T + "envoy.admin.v3."
PAGES = ("configz", "config_dump", "connections", "endpointz", "registryz", "syncz")


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def version() -> str:
    try:
        return metadata.version("glassmesh")
    except metadata.PackageNotFoundError:
        return "0"


def _redacted(value: Any) -> Any:
    """Without private keys, as Envoy's own config dump."""
    if isinstance(value, dict):
        hidden = {"inline_string": "[redacted]"}
        return {key: hidden if key == "private_key" else _redacted(part) for key, part in value.items()}
    return [_redacted(part) for part in value] if isinstance(value, list) else value


def config_dump(connection: Connection) -> dict[str, Any]:
    """Envoy's ConfigDump of what a proxy was given."""
    found = {
        name: [
            _redacted(json.loads(resource.body))
            for resource in connection.snapshot.resources.get(url, {}).values()
        ]
        for name, url in _TYPES.items()
    }
    return {
        "configs": [
            {
                "@type": _ADMIN + "ClustersConfigDump",
                "version_info": connection.snapshot.version,
                "dynamic_active_clusters": [{"cluster": cluster} for cluster in found["cluster"]],
            },
            {
                "@type": _ADMIN + "ListenersConfigDump",
                "version_info": connection.snapshot.version,
                "dynamic_listeners": [
                    {"name": listener["name"], "active_state": {"listener": listener}}
                    for listener in found["listener"]
                ],
            },
            {
                "@type": _ADMIN + "RoutesConfigDump",
                "dynamic_route_configs": [{"route_config": route} for route in found["route"]],
            },
            {
                "@type": _ADMIN + "EndpointsConfigDump",
                "dynamic_endpoint_configs": [{"endpoint_config": endpoint} for endpoint in found["endpoint"]],
            },
        ]
    }


def sync_status(connection: Connection) -> dict[str, Any]:
    proxy = connection.proxy
    status: dict[str, Any] = {
        "proxy": f"{proxy.name}.{proxy.namespace}",
        "cluster_id": proxy.metadata.get("CLUSTER_ID") or "Kubernetes",
        "proxy_type": proxy.kind,
        "user_agent": "envoy" if proxy.vanilla else "glassmesh",
        "istio_version": proxy.metadata.get("ISTIO_VERSION") or version(),
        "version": connection.snapshot.version,
    }
    for name, url in _TYPES.items():
        of_type = connection.status(url)
        status[f"{name}_status"] = of_type.state
        if of_type.at:
            status[f"{name}_time"] = _time(of_type.at)
        if of_type.error:
            status[f"{name}_error"] = of_type.error
    return status


class DebugPages:
    """`refresh` is called before metrics are read, to bring gauges up to date."""

    def __init__(
        self, proxies: Proxies, cache: ObjectCache, metrics: Metrics, refresh: Callable[[], None]
    ) -> None:
        self._proxies, self._cache, self._metrics, self._refresh = proxies, cache, metrics, refresh

    def routes(self) -> Iterable[web.RouteDef]:
        yield web.get("/ready", self.ready)
        yield web.get("/version", self.version)
        yield web.get("/metrics", self.metrics)
        yield from self.debug_routes()

    def debug_routes(self) -> Iterable[web.RouteDef]:
        """Also served by the API, behind its authentication: 15014 is inside the mesh, the command line is not."""
        yield web.get("/debug", self.index)
        yield web.get("/debug/list", self.index)
        for page in PAGES:
            yield web.get(f"/debug/{page}", getattr(self, page))

    async def ready(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self._cache.ready.is_set() else 503)

    async def version(self, _request: web.Request) -> web.Response:
        return web.Response(text=version())

    async def metrics(self, _request: web.Request) -> web.Response:
        self._refresh()
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=self._metrics.text().encode(), headers=headers)

    async def index(self, _request: web.Request) -> web.Response:
        return _answer([f"/debug/{page}" for page in PAGES])

    async def syncz(self, _request: web.Request) -> web.Response:
        return _answer([sync_status(connection) for connection in self._proxies])

    async def connections(self, _request: web.Request) -> web.Response:
        clients = [
            {
                "connectionId": connection.proxy.id,
                "connectedAt": _time(connection.since),
                "address": connection.proxy.ip,
                "polls": connection.polls,
            }
            for connection in self._proxies
        ]
        return _answer({"totalClients": len(clients), "clients": clients})

    async def registryz(self, _request: web.Request) -> web.Response:
        return _answer(
            [
                {
                    "hostname": service.hostname,
                    "address": service.address or "None",
                    "ports": [
                        {"name": p.name, "port": p.number, "protocol": p.protocol.value}
                        for p in service.ports
                    ],
                    "creationTime": service.created,
                    "attributes": {
                        "name": service.name,
                        "namespace": service.namespace,
                        "selector": dict(service.selector),
                    },
                }
                for service in self._proxies.context.services
            ]
        )

    async def endpointz(self, _request: web.Request) -> web.Response:
        context = self._proxies.context
        return _answer(
            [
                {
                    "svc": f"{service.hostname}:{port.number}",
                    "ep": [
                        {
                            "address": endpoint.workload.ip,
                            "port": endpoint.port,
                            "workload": endpoint.workload.name,
                            "labels": dict(endpoint.workload.labels),
                            "tlsMode": "istio" if endpoint.workload.accepts_mtls else "disabled",
                        }
                        for endpoint in context.endpoints(service, port)
                    ],
                }
                for service in context.services
                for port in service.ports
            ]
        )

    async def configz(self, _request: web.Request) -> web.Response:
        return _answer([obj for kind in ISTIO_KINDS for obj in self._cache.objects(kind).values()])

    async def config_dump(self, request: web.Request) -> web.Response:
        name = request.query.get("proxyID")
        if not name:
            return web.Response(status=400, text="You must provide a proxyID in the query string")
        connection = self._proxies.find(name)
        if connection is None:
            why = f"Proxy not connected to this Pilot instance: {name}"
            status = {
                "kind": "Status",
                "status": "Failure",
                "reason": "NotFound",
                "code": 404,
                "message": why,
            }
            return web.json_response(status, status=404)
        return _answer(config_dump(connection))


def _answer(value: object) -> web.Response:
    return web.json_response(value, dumps=lambda v: json.dumps(v, indent=2))


def type_label(type_url: str) -> Mapping[str, str]:
    """The `type` label of push metrics."""
    words = {CLUSTER: "cds", LISTENER: "lds", ROUTE: "rds", ENDPOINT: "eds"}
    return {"type": words.get(type_url, "ads" if not type_url else "sds")}
