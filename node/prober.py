"""The rhythm of a container's probes: when to ask, when a verdict is reached, what follows from it.

Asking is `probes`', thresholds are `probe_state`'s. Reference: kubelet's prober/worker.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from node.api_client import Object
from node.probe_state import ProbeState, settings
from node.probes import Answer


@dataclass(frozen=True, slots=True)
class Prober:
    """The probes of one running container. `ask` takes a handler and a limit in seconds; `unhealthy` tells of an answer that failed."""

    spec: Object
    ask: Callable[[Object, float], Awaitable[Answer]]
    unhealthy: Callable[[str], None]

    async def started(self) -> bool:
        """Whether the startup probe succeeded; at once when there is none."""
        probe = self.spec.get("startupProbe")
        return True if probe is None else await self._verdict(probe, "Startup")

    async def watch_readiness(self, heard: Callable[[bool], None]) -> None:
        """Tells every verdict, for ever; returns when there is no readiness probe."""

        def go_on(verdict: bool) -> bool:
            heard(verdict)
            return True

        if probe := self.spec.get("readinessProbe"):
            await self._repeat(probe, "Readiness", go_on)

    async def until_dead(self) -> bool:
        """Returns True when the liveness probe gave up, False when there is none."""
        probe = self.spec.get("livenessProbe")
        if probe is None:
            return False
        await self._repeat(probe, "Liveness", lambda verdict: verdict)
        return True

    async def _verdict(self, probe: Object, kind: str) -> bool:
        found: list[bool] = []
        await self._repeat(probe, kind, found.append)
        return found[0]

    async def _repeat(self, probe: Object, kind: str, goes_on: Callable[[bool], object]) -> None:
        """Asks once a period; `goes_on` hears each verdict and says whether there is to be another."""
        numbers = settings(probe)
        state = ProbeState(numbers)
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(numbers.initial_delay)
        while True:
            due = clock() + numbers.period
            answer = await self.ask(probe, numbers.timeout)
            if not answer.ok:
                self.unhealthy(f"{kind} probe failed: {answer.text}")
            verdict = state.observe(answer.ok)
            if verdict is not None and not goes_on(verdict):
                return
            await asyncio.sleep(max(0.0, due - clock()))
