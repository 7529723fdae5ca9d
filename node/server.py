"""pid 1 of the mesh: builds everything the node is made of, in order, and ends everything on SIGTERM.

The composition root: reads top to bottom as the start of a mesh. What each part decides is in its own file. Nothing here survives this process:
the kernel ends every process, namespace, link and rule of the mesh with it. Reference: ARCHITECTURE.md, "On one machine".
"""

from __future__ import annotations

import asyncio
import base64
import compileall
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path

from node import network
from node.api_client import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    ApiClient,
)
from node.cache import Cache, key_of
from node.control_plane import ControlPlane, command
from node.controllers.workloads import Workloads
from node.dns_server import DnsServer
from node.dns_zone import DOMAIN, Zone
from node.environment import Lookup
from node.events import Events
from node.log_files import LogFiles
from node.node_http import NodeHttp
from node.node_object import keep_node
from node.pod_worker import Machine
from node.pods import Pods
from node.processes import Processes
from node.published_port import PublishedPort
from node.services import ServiceRules
from node.view import View

log = logging.getLogger(__name__)

NODE_NAME = "glassmesh"
GATEWAY_SERVICE = ("istio-system", "istio-ingressgateway")
ROTATE_SECONDS = 30.0
STATE_SECONDS = 2.0
END_SECONDS = 1.0  # for processes to end by themselves when the mesh goes down


@dataclass(frozen=True, slots=True)
class Settings:
    """What `glassmesh up` hands in. The descriptors are listening sockets of the host's loopback."""

    state: Path
    api_fd: int
    gateway_fd: int
    back_off_base: float


class Caches:
    """Local copies of everything the node looks at."""

    def __init__(self, api: ApiClient) -> None:
        self.pods = Cache(api, PODS)
        self.deployments = Cache(api, DEPLOYMENTS)
        self.replica_sets = Cache(api, REPLICA_SETS)
        self.services = Cache(api, SERVICES)
        self.endpoints = Cache(api, ENDPOINTS)
        self.config_maps = Cache(api, CONFIG_MAPS)
        self.secrets = Cache(api, SECRETS)
        self.namespaces = Cache(api, NAMESPACES)

    def every(self) -> list[Cache]:
        return list(vars(self).values())

    def lookup(self, namespace: str) -> Lookup:
        """The data of a ConfigMap or Secret of one namespace."""

        def find(kind: str, name: str) -> Mapping[str, str] | None:
            obj = (self.config_maps if kind == "configmap" else self.secrets).get((namespace, name))
            if obj is None:
                return None
            data = obj.get("data") or {}
            if kind == "configmap":
                return dict(data)
            return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}

        return find


def prepare(settings: Settings) -> View:
    """The mesh's own view of the file system, before anything else runs."""
    project = Path(__file__).resolve().parent.parent
    view = View()
    view.make_private()
    os.chdir("/")
    trees = [Path(sys.prefix), Path(sys.base_prefix), project, settings.state]
    view.reveal(tree for tree in trees if str(tree) not in ("/usr", "/"))
    # Containers see these files read-only and as another user: nobody after us can keep compiled modules.
    for package in ("proxy", "demo_apps", "node"):
        compileall.compile_dir(project / package, quiet=2)
    return view


async def run(settings: Settings, view: View) -> None:
    """The mesh, until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    processes = Processes(loop)
    await network.start_mesh_network(processes)
    async with contextlib.AsyncExitStack() as stack:
        await _start(settings, view, processes, stack)
        await stop.wait()
        log.info("stopping")


async def _start(
    settings: Settings, view: View, processes: Processes, stack: contextlib.AsyncExitStack
) -> None:
    outside = socket.socket(fileno=settings.api_fd)
    # The same port inside as outside, so that one kubeconfig serves both.
    inside = socket.create_server(("127.0.0.1", outside.getsockname()[1]), backlog=128)
    control_log = settings.state / "logs" / "control.log"
    control = ControlPlane(processes, command(settings.state), inside.fileno(), control_log)
    stack.push_async_callback(control.stop, END_SECONDS)  # once nobody starts it again
    background(control.run(), stack)

    api = ApiClient(settings.state / "kubeconfig")
    stack.push_async_callback(api.close)
    caches = Caches(api)
    events = Events(api, NODE_NAME)
    logs = LogFiles(settings.state / "logs")
    machine = Machine(
        api=api,
        processes=processes,
        addresses=network.Addresses(),
        view=view,
        logs=logs,
        events=events,
        lookup=caches.lookup,
        node_name=NODE_NAME,
        cpus=os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        back_off_base=settings.back_off_base,
    )
    pods = Pods(machine, caches.pods)
    stack.push_async_callback(pods.stop_all, END_SECONDS)
    for source in (caches.config_maps, caches.secrets):
        source.listen(pods.refresh_volumes)
    workloads = Workloads(api, events, caches.deployments, caches.replica_sets, caches.pods)
    rules = ServiceRules(processes, caches.services, caches.endpoints)

    dns = DnsServer(zone(caches))
    await dns.start(network.DNS)
    stack.push_async_callback(dns.close)
    http = NodeHttp(pods, logs, control)
    await http.start(settings.state / "node.sock")
    stack.push_async_callback(http.close)
    api_port = PublishedPort(outside, lambda: inside.getsockname()[:2])
    gateway_port = PublishedPort(socket.socket(fileno=settings.gateway_fd), lambda: gateway(caches))
    for port in (api_port, gateway_port):
        await port.start()
        stack.push_async_callback(port.close)

    for cache in caches.every():
        background(cache.run(), stack)
    for work in (
        events.run(),
        workloads.run(),
        rules.run(),
        keep_node(machine),
        rotate(logs),
        outlive_no_state(settings.state),
    ):
        background(work, stack)


def zone(caches: Caches) -> Zone:
    fixed = {f"istiod.istio-system.svc.{DOMAIN}": network.GATEWAY}

    def namespaces() -> list[str]:
        return [key_of(namespace)[1] for namespace in caches.namespaces]

    return Zone(caches.services.get, caches.endpoints.get, namespaces, fixed)


def gateway(caches: Caches) -> tuple[str, int] | None:
    """Where the published port leads: the first port for HTTP of the ingress gateway's Service."""
    service = caches.services.get(GATEWAY_SERVICE)
    if service is None:
        return None
    ports = service["spec"]["ports"]
    chosen = next((port for port in ports if port["port"] == 80), ports[0])
    return service["spec"]["clusterIP"], int(chosen["port"])


async def rotate(logs: LogFiles) -> None:
    while True:
        await asyncio.sleep(ROTATE_SECONDS)
        logs.rotate()


async def outlive_no_state(state: Path) -> None:
    """Ends when the state directory is gone: nobody could find the mesh any more to end it."""
    logs = state / "logs"  # not the directory itself, which stays for whoever has it mounted
    while os.access(logs, os.F_OK):  # noqa: ASYNC110 - nothing tells us
        await asyncio.sleep(STATE_SECONDS)
    raise StateGone(f"{state} was removed")


class StateGone(Exception):
    """The mesh has nothing left to be found by."""


def background(work: Coroutine[None, None, None], stack: contextlib.AsyncExitStack) -> None:
    """Runs until the mesh ends; a part that fails ends the mesh loudly, since nothing would work without it."""
    task = asyncio.create_task(work)
    task.add_done_callback(_end_on_failure)
    stack.callback(task.cancel)


def _end_on_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.critical("a part of the node failed", exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)
