"""Runs one pod from its network to its last container, and keeps its status in the API true.

The life of a pod reads top to bottom in `run`. Knows the order of things; containers know how they run, `pod_status` how it is
worded. A pod is told to stop by `stop`; the API being away delays only what is written there. Reference: kubelet's pod worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from node import network, pod_status
from node.api_client import PODS, ApiAway, ApiClient, ApiError, Object
from node.container import Container, Host
from node.container_spec import Spec, build
from node.environment import Lookup
from node.events import Events, now
from node.log_files import LogFiles
from node.network import Addresses
from node.pod_fields import Placement, UnknownField
from node.processes import CommandFailed, Processes
from node.tokens import PodTokens
from node.view import View
from node.volumes import Volumes

log = logging.getLogger(__name__)

PODS_DIRECTORY = Path("/run/glassmesh/pods")
STATUS_RETRY_SECONDS = 1.0
VOLUME_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What every pod shares."""

    api: ApiClient
    processes: Processes
    addresses: Addresses
    view: View
    logs: LogFiles
    events: Events
    lookup: Callable[[str], Lookup]  # ConfigMap data, by namespace
    node_name: str
    cpus: int
    memory: int
    back_off_base: float


class PodWorker:
    """One pod. `stop` ends it; `done` says that nothing of it is left."""

    def __init__(self, machine: Machine, pod: Object) -> None:
        self._machine = machine
        self.pod = pod
        self.ip = machine.addresses.take()
        uid = pod["metadata"]["uid"]
        self.network_name = f"{pod['metadata']['name'][:200]}-{uid[:8]}"
        self._placement = Placement(self.ip, network.GATEWAY, machine.node_name, machine.cpus, machine.memory)
        self._volumes = Volumes(PODS_DIRECTORY / uid, pod, self._placement)
        host = Host(machine.processes, machine.logs, machine.events, machine.back_off_base, self._changed)
        inits = pod["spec"].get("initContainers") or []
        self._sidecars = frozenset(c["name"] for c in inits if c.get("restartPolicy") == "Always")
        self._inits = [self._container(host, spec, self._init_policy(spec)) for spec in inits]
        policy = pod["spec"].get("restartPolicy", "Always")
        self._policy = policy
        self._containers = [self._container(host, spec, policy) for spec in pod["spec"]["containers"]]
        self._has_network = False
        self._has_volumes = False
        self._start_time = now()
        self._status: pod_status.Status = pod.get("status") or {}
        self._dirty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<PodWorker {self.namespace}/{self.name} {self.ip}>"

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def containers(self) -> list[Container]:
        return [*self._inits, *self._containers]

    async def run(self) -> None:
        """The whole life but its end: network, volumes, init containers in order, containers. Until cancelled."""
        self._changed()
        self._spawn(self._keep_status())
        await self._set_up()
        for container in self._inits:
            if not await self._run_init(container):
                return
        for container in self._containers:
            self._spawn(container.run())
            # A postStart hook holds back the containers after it (holdApplicationUntilProxyStarts).
            await container.launched.wait()
        await asyncio.Event().wait()

    def update(self, pod: Object) -> None:
        """Takes in what may change of a running pod: labels and annotations, and what its volumes hold."""
        self.pod = pod
        self._volumes.pod = pod
        self.refresh_volumes()

    def refresh_volumes(self) -> None:
        """Writes ConfigMaps, Secrets and fields of the pod that changed into its volumes."""
        if not self._has_volumes:
            return
        try:
            self._volumes.write_all(self._machine.lookup(self.namespace))
        except (UnknownField, OSError) as error:
            self._machine.events.warning(self.pod, "Pod", "FailedMount", str(error))

    async def stop(self, grace: float) -> None:
        """Ends every container within `grace` seconds, native sidecars last, and takes the network down."""
        for container in self.containers:
            container.record.ready = False
        self._changed()
        main = [c for c in self.containers if c.name not in self._sidecars]
        await asyncio.gather(*(container.stop(grace) for container in main))
        await asyncio.gather(*(c.stop(grace) for c in self._inits if c.name in self._sidecars))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._has_network:
            network.kill_processes(self.network_name)  # what left its container's session
            await network.remove_pod(self._machine.processes, self.network_name, self.ip)
        self._machine.addresses.give_back(self.ip)
        self._volumes.remove()

    async def _set_up(self) -> None:
        """Tries until the pod has its network, its volumes and its tokens."""
        await self._try(self._add_network, "FailedCreatePodSandBox")
        await self._try(self._fill_volumes, "FailedMount")
        tokens = PodTokens(self._machine.api, self.pod, self._volumes)
        await tokens.first()
        self._spawn(tokens.renew())

    async def _add_network(self) -> None:
        self._has_network = True
        try:
            await network.add_pod(self._machine.processes, self.network_name, self.ip)
        except CommandFailed:
            await network.remove_pod(self._machine.processes, self.network_name, self.ip)
            raise
        self._changed()

    async def _fill_volumes(self) -> None:
        self._volumes.write_all(self._machine.lookup(self.namespace))
        self._has_volumes = True

    async def _try(self, step: Callable[[], Awaitable[None]], reason: str) -> None:
        while True:
            try:
                return await step()
            except (CommandFailed, UnknownField, OSError) as error:
                self._machine.events.warning(self.pod, "Pod", reason, str(error))
                await asyncio.sleep(VOLUME_RETRY_SECONDS)

    async def _run_init(self, container: Container) -> bool:
        """Whether the next container may start."""
        task = self._spawn(container.run())
        if container.name in self._sidecars:
            await container.started.wait()
            return True
        await asyncio.wait([task])  # not `await task`: stopping this coroutine must not abandon the container
        return container.record.succeeded

    def _init_policy(self, spec: Object) -> str:
        """An init container is repeated until it succeeds, unless the pod is never to be restarted."""
        if spec.get("restartPolicy") == "Always":
            return "Always"
        return "Never" if self.pod["spec"].get("restartPolicy") == "Never" else "OnFailure"

    def _container(self, host: Host, spec: Object, policy: str) -> Container:
        def make_spec() -> Spec:
            machine = self._machine
            lookup = machine.lookup(self.namespace)
            path = network.NETNS / self.network_name
            return build(self.pod, spec, path, self._placement, self._volumes, machine.view, lookup)

        is_init = spec in (self.pod["spec"].get("initContainers") or []) and policy != "Always"
        return Container(host, self.pod, spec, self.ip, policy, is_init, make_spec)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    # Status.

    def _changed(self) -> None:
        self._dirty.set()

    async def _keep_status(self) -> None:
        """Writes the status whenever it changed; what changes meanwhile is written with the next."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            status = pod_status.build(self._facts(), self._status, now())
            if status == self._status:
                continue
            try:
                await self._machine.api.patch(PODS, self.namespace, self.name, {"status": status}, "status")
                self._status = status
            except ApiError as error:
                log.debug("status of %s: %s", self.name, error)
            except ApiAway:
                self._dirty.set()
                await asyncio.sleep(STATUS_RETRY_SECONDS)

    def _facts(self) -> pod_status.Facts:
        return pod_status.Facts(
            inits=[container.record for container in self._inits],
            containers=[container.record for container in self._containers],
            sidecars=self._sidecars,
            restart_policy=self._policy,
            pod_ip=self.ip if self._has_network else "",
            host_ip=network.GATEWAY,
            start_time=self._start_time,
        )
