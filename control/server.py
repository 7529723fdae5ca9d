"""The control plane: everything it is made of, and how the parts are joined.

    store ── list/watch ──> ObjectCache ──> ContextBuilder ──> Proxies ──> Discovery (15010, 15012)
      └── API (its own port) ── admission ──> injection (also 15017)          └──> DebugPages (15014)

A change in the store pokes the debounce; when it has been quiet, one new context is built and every connected proxy is compiled.
Restarting loses nothing: the store, the CA and the token keys are on disk, versions of configuration are digests of content.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import secrets
import socket
import ssl
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from control.analysis.admission import ApplyWarnings
from control.api.admission import Admission
from control.api.certificates import ServingCertificate, server_context
from control.api.kubeconfig import write_kubeconfig
from control.api.server import make_app
from control.ca.authority import Authority, load_or_make_root, utc_now, write_private
from control.ca.root_certificates import RootCertificates
from control.ca.server import CaServer
from control.ca.tokens import BadToken, TokenIssuer, bearer, load_or_make_key
from control.inject.webhook import InjectionWebhook
from control.mesh_config import MeshConfig
from control.push.builder import KINDS as MESH_KINDS
from control.push.builder import ContextBuilder
from control.push.connection import Connection
from control.push.debounce import Debounce
from control.push.debug import DebugPages, type_label, version
from control.push.discovery import Discovery, application, runner
from control.push.metrics import Metrics
from control.push.proxies import FORGET_SECONDS, Proxies
from control.push.proxy import Proxy
from control.registry.auto_registration import AutoRegistration
from control.registry.objects import ObjectCache
from control.resources import KINDS, config_map, namespace
from control.resources.istio_kinds import ISTIO_KINDS
from control.resources.kind import Kind
from control.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

_BACKLOG = 4096  # after a restart all sidecars connect at once; the kernel allows somaxconn at most

API_KINDS: tuple[Kind, ...] = (*KINDS, *(kind for kind in ISTIO_KINDS if kind not in KINDS))
SERVER_NAMES = (
    "istiod.istio-system.svc",
    "istiod.istio-system.svc.cluster.local",
    "istiod.istio-system",
    "istiod",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "control",
    "localhost",
    "127.0.0.1",
    "::1",
)


@dataclass(frozen=True)
class Ports:
    """Ports to listen on; 0 is any free one."""

    plaintext: int = 15010
    tls: int = 15012
    monitoring: int = 15014
    webhook: int = 15017


@dataclass(frozen=True)
class Options:
    """How to run. `api` is a listening socket. `names` are further names and addresses of the server certificate."""

    state: Path
    api: socket.socket
    mesh: MeshConfig = field(default_factory=MeshConfig)
    address: str = "0.0.0.0"
    ports: Ports = field(default_factory=Ports)
    workload_ttl: timedelta = timedelta(hours=24)
    max_workload_ttl: timedelta = timedelta(days=90)
    names: tuple[str, ...] = ()
    # Where clients find the API, when that is not the socket's own address.
    api_server: str = ""


class ControlPlane:
    """Build it, `start` it, `stop` it. `ports` is where it listens, once started."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._directory = options.state / "control"
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        mesh = options.mesh
        self.metrics = Metrics()
        self.store = SqliteStore(self._directory / "store.sqlite")
        root = load_or_make_root(self._directory / "ca", mesh.trustDomain, utc_now())
        self.authority = Authority(root, options.workload_ttl, options.max_workload_ttl)
        self.tokens = TokenIssuer(load_or_make_key(self._directory / "ca"))
        self.cache = ObjectCache(self.store, (*MESH_KINDS, namespace.KIND, config_map.KIND), self._on_change)
        self._builder = ContextBuilder(self.cache, mesh)
        self.registration = AutoRegistration(self.store, self.cache, self._is_connected)
        self.proxies = Proxies(
            self._builder.build(), self._authorize, self.registration.arrived, self.registration.left
        )
        self.root_certificates = RootCertificates(self.store, self.cache, self.authority.root)
        self._debounce = Debounce(self._push)
        self.injection = InjectionWebhook(mesh, self._namespace_labels, self._count_injection)
        self.ports: dict[str, int] = {}
        self._runners: list[web.AppRunner] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Returns when everything is served and the kubeconfig is written."""
        options = self._options
        names = (*SERVER_NAMES, *options.names)
        pair = await asyncio.to_thread(self.authority.serve, names)
        tls = server_context(ServingCertificate(self.authority.root, pair.chain, pair.key))
        token = self._admin_token()
        # The first objects (namespaces) are made when the API starts, so what follows the store starts before.
        self._tasks.append(asyncio.create_task(self.cache.run(), name="object cache"))
        self._tasks.append(asyncio.create_task(self.root_certificates.run(), name="root certificates"))
        await self.cache.ready.wait()
        await self._push()
        # What a mesh of thousands of pods is made of has no cycles: looking for them would stop everything for a tenth of a second.
        gc.collect()
        gc.freeze()
        pages = DebugPages(self.proxies, self.cache, self.metrics, self._refresh_gauges)
        await self._serve_api(tls, token, pages)
        discovery = Discovery(self.proxies, on_answer=self._on_answer, on_refusal=self._on_refusal)
        ca = CaServer(self.authority, self.tokens, options.mesh.trustDomain, self._count_csr)
        secure = application(discovery)
        secure.add_routes(ca.routes())
        webhook = web.Application()
        webhook.add_routes(self.injection.routes())
        monitoring = web.Application()
        monitoring.add_routes(pages.routes())
        webhook.add_routes([web.get("/ready", pages.ready)])
        ports = options.ports
        await self._serve("plaintext", application(discovery), "127.0.0.1", ports.plaintext, None)
        await self._serve("tls", secure, options.address, ports.tls, tls)
        await self._serve("monitoring", monitoring, options.address, ports.monitoring, None)
        await self._serve("webhook", webhook, options.address, ports.webhook, tls)
        self._tasks.append(
            asyncio.create_task(self.registration.remove_absent(2 * FORGET_SECONDS), name="absent workloads")
        )
        (self._directory / "ports.json").write_text(json.dumps(self.ports))
        log.info("serving %s", ", ".join(f"{name} on {port}" for name, port in self.ports.items()))

    async def stop(self) -> None:
        self._debounce.cancel()
        self.proxies.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(each.cleanup() for each in self._runners))
        await self.registration.close()
        self.proxies.close()
        self.store.close()

    async def _serve_api(self, tls: ssl.SSLContext, token: str, pages: DebugPages) -> None:
        options = self._options
        app = make_app(
            self.store,
            API_KINDS,
            admin_token=token,
            admission=Admission(
                mutators=(self.injection.mutate,), validators=(ApplyWarnings(options.mesh).check,)
            ),
            token_signer=self.tokens,
            node_socket=options.state / "node.sock",
        )
        app.add_routes(pages.debug_routes())
        api = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._runners.append(api)
        await api.setup()
        await web.SockSite(api, options.api, ssl_context=tls).start()
        self.ports["api"] = int(options.api.getsockname()[1])
        server = options.api_server or f"https://127.0.0.1:{self.ports['api']}"
        write_kubeconfig(options.state / "kubeconfig", server, self.authority.root, token)

    async def _serve(
        self, name: str, app: web.Application, address: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        served = runner(app)
        self._runners.append(served)
        await served.setup()
        await web.TCPSite(served, address, port, ssl_context=tls, backlog=_BACKLOG).start()
        self.ports[name] = int(served.addresses[0][1])

    def _admin_token(self) -> str:
        """Kept, so that a kubeconfig outlives a restart."""
        path = self._directory / "admin-token"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32).encode())
        return path.read_text()

    # Changes and pushes ----------------------------------------------------------------------------------------

    def _on_change(self, kind: Kind) -> None:
        if kind in (namespace.KIND, config_map.KIND):
            self.root_certificates.poke()
        else:
            self.metrics.count("pilot_k8s_cfg_events", type=kind.kind)
            self._debounce.poke()

    async def _push(self) -> None:
        """One merged push: whoever has something new is answered at once, and the API in between."""
        begun = time.perf_counter()
        context = self._builder.build()
        if context is self.proxies.context:
            return
        changed = await self.proxies.use(context)
        seconds = time.perf_counter() - begun
        self.metrics.observe("pilot_proxy_convergence_time", seconds)
        log.debug("pushed to %d of %d proxies in %.1f ms", changed, len(self.proxies), seconds * 1000)

    def _authorize(self, request: web.Request, proxy: Proxy) -> None:
        """Over TLS a token must name the namespace and service account the node claims; 15010 is loopback only."""
        if not request.secure:
            return
        try:
            identity = self.tokens.identity(bearer(request.headers.get("Authorization", "")))
        except BadToken as error:
            raise web.HTTPUnauthorized(text=f"authentication failure: {error}") from error
        if (identity.namespace, identity.service_account) != (proxy.namespace, proxy.service_account):
            raise web.HTTPForbidden(
                text=f"node {proxy.id} claims {proxy.namespace}/{proxy.service_account}, "
                f"its token is for {identity.namespace}/{identity.service_account}"
            )

    def _is_connected(self, pod_namespace: str, name: str) -> bool:
        return self.proxies.find(f"{name}.{pod_namespace}") is not None

    def _namespace_labels(self, name: str) -> dict[str, str]:
        obj = self.cache.objects(namespace.KIND).get(("", name)) or {"metadata": {}}
        return obj["metadata"].get("labels") or {}

    # Metrics ---------------------------------------------------------------------------------------------------

    def _on_answer(self, type_url: str, _connection: Connection) -> None:
        self.metrics.count("pilot_xds_pushes", **type_label(type_url))

    def _on_refusal(self, type_url: str, connection: Connection, error: str) -> None:
        label = type_label(type_url)
        self.metrics.count("pilot_total_xds_rejects", **label)
        log.warning("ADS:%s: ACK ERROR %s Internal:%s", label["type"].upper(), connection.proxy.id, error)

    def _count_csr(self, event: str) -> None:
        names = {
            "csr": "citadel_server_csr_count",
            "issued": "citadel_server_success_cert_issuance_count",
            "refused": "citadel_server_csr_sign_err_count",
            "unauthenticated": "citadel_server_authentication_failure_count",
        }
        self.metrics.count(names[event])

    def _count_injection(self, event: str) -> None:
        self.metrics.count(f"sidecar_injection_{event}_total")

    def _refresh_gauges(self) -> None:
        context = self.proxies.context
        self.metrics.gauge("pilot_xds", len(self.proxies), version=version())
        self.metrics.gauge("pilot_services", len(context.services))
        self.metrics.gauge("pilot_virt_services", len(context.virtual_services))
        self.metrics.gauge("istio_build", 1, component="pilot", tag=version())
