"""Runs one container: starts it, probes it, restarts it as its policy says, stops it.

The life of a container reads top to bottom in `run`. What the states mean is `container_state`'s, when to restart `restart`'s, what probes
mean `probe_state`'s. Reference: kubelet's syncPod and prober.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node import probes
from node.api_client import Object
from node.container_spec import Spec
from node.container_state import ContainerRecord
from node.events import Events, now
from node.images import UnknownImage
from node.log_files import LogFiles
from node.pod_fields import UnknownField
from node.probe_state import ProbeState, settings
from node.processes import Child, Processes, Result
from node.restart import BackOff, should_restart

SHIM = str(Path(__file__).with_name("shim.py"))
CONFIG_RETRY_SECONDS = 2.0  # a missing ConfigMap may still come
START_ERROR = 128


class StartError(Exception):
    """The program could not be started; the text says why."""


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
        with _memory_file(document) as spec_fd, _null() as null:
            return await self._host.processes.run(
                _shim_command(), env={}, seconds=seconds, fds={3: spec_fd, 4: null}
            )

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
        error_read, error_write = os.pipe()
        try:
            with _memory_file(spec.document()) as spec_fd, _null() as null:
                fds = {0: null, 1: log_fd, 2: log_fd, 3: spec_fd, 4: error_write}
                child = self._child = self._host.processes.spawn(_shim_command(), {}, fds)
            os.close(error_write)
            error_write = -1
            error = await _read_to_end(error_read)
        finally:
            os.close(log_fd)
            os.close(error_read)
            if error_write >= 0:
                os.close(error_write)
        if error:
            await child.wait()
            self._child = None
            raise StartError(f"failed to start {spec.argv[0]!r}: {error}")
        return child

    async def _watch_over(self) -> None:
        """Hooks and probes of a running container."""
        if hook := (self._spec.get("lifecycle") or {}).get("postStart"):
            answer = await self._ask(hook, 600)
            if not answer.ok:
                self._tell("FailedPostStartHook", f"PostStartHook failed: {answer.text}", warning=True)
                await self._kill(30)
                return
        self.launched.set()
        if (probe := self._spec.get("startupProbe")) and not await self._until_verdict(probe, "Startup"):
            await self._kill_unhealthy("startup", probe)
            return
        self.record.started = True
        self.record.ready = "readinessProbe" not in self._spec
        self.started.set()
        self._host.changed()
        await asyncio.gather(self._readiness(), self._liveness())

    async def _readiness(self) -> None:
        if probe := self._spec.get("readinessProbe"):
            await self._probe(probe, "Readiness", self._set_ready)

    async def _liveness(self) -> None:
        if probe := self._spec.get("livenessProbe"):
            await self._probe(probe, "Liveness", lambda verdict: verdict)
            await self._kill_unhealthy("liveness", probe)

    async def _until_verdict(self, probe: Object, kind: str) -> bool:
        found: list[bool] = []

        def keep(verdict: bool) -> bool:
            found.append(verdict)
            return False

        await self._probe(probe, kind, keep)
        return found[0]

    async def _probe(self, probe: Object, kind: str, decide: Callable[[bool], bool]) -> None:
        """Asks again and again; `decide` hears each verdict and says whether to go on."""
        numbers = settings(probe)
        state = ProbeState(numbers)
        await asyncio.sleep(numbers.initial_delay)
        while True:
            due = asyncio.get_running_loop().time() + numbers.period
            answer = await self._ask(probe, numbers.timeout)
            if not answer.ok:
                self._tell("Unhealthy", f"{kind} probe failed: {answer.text}", warning=True)
            verdict = state.observe(answer.ok)
            if verdict is not None and not decide(verdict):
                return
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

    def _set_ready(self, verdict: bool) -> bool:
        if self.record.ready != verdict:
            self.record.ready = verdict
            self._host.changed()
        return True

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


def _shim_command() -> list[str]:
    return [sys.executable, "-I", "-S", SHIM]


@contextlib.contextmanager
def _memory_file(document: dict[str, Any]) -> Iterator[int]:
    fd = os.memfd_create("container")
    try:
        os.write(fd, json.dumps(document).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


async def _read_to_end(fd: int) -> str:
    """What a child writes until it closes its end, which it does by starting its program."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    collected = b""
    while True:
        readable = loop.create_future()
        loop.add_reader(fd, readable.set_result, None)
        try:
            await readable
        finally:
            loop.remove_reader(fd)
        block = os.read(fd, 4096)
        if not block:
            return collected.decode(errors="replace")
        collected += block
