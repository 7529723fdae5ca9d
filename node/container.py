"""Runs one container: starts it, probes it, restarts it as its policy says, stops it.

The life of a container reads top to bottom in `run`. What the states mean is `container_state`'s, when to restart `restart`'s, the
rhythm of probes `prober`'s, processes are started by `runtime`. Reference: kubelet's syncPod and prober.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from node import probes, runtime
from node.api_client import Object
from node.container_spec import Spec
from node.container_state import ContainerRecord
from node.events import Events, now
from node.images import UnknownImage
from node.log_files import LogFiles
from node.pod_fields import UnknownField
from node.prober import Prober
from node.processes import Child, Processes, Result
from node.restart import BackOff, should_restart
from node.runtime import StartError

CONFIG_RETRY_SECONDS = 2.0  # a missing ConfigMap may still come
START_ERROR = 128


@dataclass(frozen=True, slots=True)
class Host:
    """What a container needs of the node."""

    processes: Processes
    logs: LogFiles
    events: Events
    back_off_base: float
    changed: Callable[[], None]  # something of the pod's status did


class Container:
    """One container of one pod. `make_spec` is asked before every start; it may raise UnknownImage or UnknownField."""

    def __init__(
        self,
        host: Host,
        pod: Object,
        spec: Object,
        pod_ip: str,
        policy: str,
        is_init: bool,
        make_spec: Callable[[], Spec],
    ) -> None:
        self._host = host
        self._pod = pod
        self._spec = spec
        self._pod_ip = pod_ip
        self._policy = policy
        self.is_init = is_init  # runs to its end before the next container starts
        self._make_spec = make_spec
        self._back_off = BackOff(host.back_off_base)
        self._child: Child | None = None
        self._running_spec: Spec | None = None
        self._stopping = False
        self.record = ContainerRecord(spec["name"], spec.get("image", ""))
        self.launched = asyncio.Event()  # a first start was tried and its postStart hook has ended
        self.started = asyncio.Event()  # the startup probe succeeded once

    def __repr__(self) -> str:
        return f"<Container {self.record.name} {next(iter(self.record.state))}>"

    @property
    def name(self) -> str:
        return self.record.name

    async def run(self) -> None:
        """Until the container has ended and its policy wants no other run; for ever while it cannot be started."""
        while True:
            begun = time.monotonic()
            exit_code = await self._run_once()
            if self._stopping or not should_restart(self._policy, exit_code):
                return
            delay = self._back_off.delay(time.monotonic() - begun)
            if delay:
                self._wait_back_off(delay)
                await asyncio.sleep(delay)

    async def stop(self, grace: float) -> None:
        """Ends the running process: preStop, SIGTERM, and after `grace` seconds SIGKILL."""
        self._stopping = True
        await self._terminate(grace)

    def inside(self) -> dict[str, Any] | None:
        """How another command joins the running container (see node/shim.py), but for its argv; None when it does not run."""
        if self._child is None or self._running_spec is None or not self.record.running:
            return None
        return self._running_spec.command_inside([], self._child.pid)

    async def execute(self, argv: list[str], seconds: float) -> Result:
        """Runs a command inside the running container, as its user."""
        if self._child is None or self._running_spec is None:
            return Result(126, "container is not running")
        document = self._running_spec.command_inside(argv, self._child.pid)
        return await runtime.execute(self._host.processes, document, seconds)

    # The life of one run.

    async def _run_once(self) -> int:
        """Starts the process and returns its exit code; waits as long as it cannot be described."""
        try:
            spec = await self._described()
            child = await self._started(spec)
        except StartError as error:
            self._tell("Failed", f"Error: {error}", warning=True)
            self.record.runs += 1
            self.record.restarts = self.record.runs - 1
            self.record.terminate(START_ERROR, now(), "StartError", str(error))
            self.launched.set()
            self._host.changed()
            return START_ERROR
        watcher = asyncio.ensure_future(self._watch_over())
        try:
            exit_code = await child.wait()
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        self._child = None
        self.record.terminate(exit_code, now())
        self.launched.set()
        self._host.changed()
        return exit_code

    async def _described(self) -> Spec:
        """The spec; while it cannot be made, the reason is the container's state."""
        while True:
            try:
                return self._make_spec()
            except UnknownImage as error:
                self._tell("Failed", f'Failed to pull image "{self.record.image}": {error}', warning=True)
                self._cannot_start("ErrImagePull", str(error))
                await asyncio.Event().wait()
            except UnknownField as error:
                self._tell("Failed", f"Error: {error}", warning=True)
                self._cannot_start("CreateContainerConfigError", str(error))
                await asyncio.sleep(CONFIG_RETRY_SECONDS)

    async def _started(self, spec: Spec) -> Child:
        """Raises StartError."""
        if self.record.runs == 0:
            self._tell(
                "Pulled", f'Container image "{self.record.image}" is mapped to {" ".join(spec.argv[:3])}'
            )
        self._tell("Created", f"Created container: {self.name}")
        child = await self._spawn(spec)
        self._running_spec = spec
        self.record.run(child.pid, now())
        self._tell("Started", f"Started container {self.name}")
        self._host.changed()
        return child

    async def _spawn(self, spec: Spec) -> Child:
        metadata = self._pod["metadata"]
        log_fd = self._host.logs.begin(metadata["namespace"], metadata["name"], self.name)
        try:
            return await runtime.start(self._host.processes, spec.document(), log_fd, self._begun)
        except StartError:
            self._child = None
            raise
        finally:
            os.close(log_fd)

    def _begun(self, child: Child) -> None:
        self._child = child

    async def _watch_over(self) -> None:
        """Hooks and probes of a running container."""
        if hook := (self._spec.get("lifecycle") or {}).get("postStart"):
            answer = await self._ask(hook, 600)
            if not answer.ok:
                self._tell("FailedPostStartHook", f"PostStartHook failed: {answer.text}", warning=True)
                await self._kill(30)
                return
        self.launched.set()
        prober = Prober(self._spec, self._ask, lambda text: self._tell("Unhealthy", text, warning=True))
        if not await prober.started():
            await self._kill_unhealthy("startup", self._spec["startupProbe"])
            return
        self.record.started = True
        self.record.ready = "readinessProbe" not in self._spec
        self.started.set()
        self._host.changed()
        await asyncio.gather(prober.watch_readiness(self._set_ready), self._end_when_dead(prober))

    async def _end_when_dead(self, prober: Prober) -> None:
        if await prober.until_dead():
            await self._kill_unhealthy("liveness", self._spec["livenessProbe"])

    def _set_ready(self, verdict: bool) -> None:
        if self.record.ready != verdict:
            self.record.ready = verdict
            self._host.changed()

    async def _ask(self, handler: Object, seconds: float) -> probes.Answer:
        return await probes.ask(handler, self._spec, self._pod_ip, seconds, self.execute)

    # Ending.

    async def _kill_unhealthy(self, kind: str, probe: Object) -> None:
        self._tell("Killing", f"Container {self.name} failed {kind} probe, will be restarted")
        grace = probe.get("terminationGracePeriodSeconds") or self._pod["spec"].get(
            "terminationGracePeriodSeconds", 30
        )
        await self._kill(float(grace))

    async def _terminate(self, grace: float) -> None:
        if self._child is None:
            return
        begun = time.monotonic()
        self._tell("Killing", f"Stopping container {self.name}")
        if (hook := (self._spec.get("lifecycle") or {}).get("preStop")) and grace > 0:
            await self._ask(hook, grace)
        await self._kill(max(0.0, grace - (time.monotonic() - begun)))

    async def _kill(self, grace: float) -> None:
        child = self._child
        if child is None:
            return
        child.signal_group(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(child.wait()), grace)
        except TimeoutError:
            child.signal_group(signal.SIGKILL)
            await child.wait()

    # Telling.

    def _wait_back_off(self, delay: float) -> None:
        pod = self._pod["metadata"]
        text = f"back-off {delay:g}s restarting failed container={self.name} pod={pod['name']}_{pod['namespace']}"
        self.record.wait("CrashLoopBackOff", text)
        self._tell("BackOff", f"Back-off restarting failed container {self.name}", warning=True)
        self._host.changed()

    def _cannot_start(self, reason: str, message: str) -> None:
        self.record.wait(reason, message)
        self.launched.set()
        self._host.changed()

    def _tell(self, reason: str, message: str, warning: bool = False) -> None:
        tell = self._host.events.warning if warning else self._host.events.normal
        tell(self._pod, "Pod", reason, message, self.name)
