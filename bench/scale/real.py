"""Real sidecars beside each other: what they hold, and when each had applied a change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from bench.scale import mesh, sidecars
from bench.scale.applied import Page, statuses, synced
from bench.scale.changing import Changing, Figures, ms, summary
from bench.scale.kubectl import MISSING, is_applied
from bench.scale.sidecars import Sidecar

Times = dict[str, list[float]]  # ms, by who took them
_PAUSE = 0.3  # s between changes
_EVERY = 0.002  # s between looks at a page, each of which takes 3 ms of a sidecar with 1,000 services


async def real_sidecars(changing: Changing, kinds: Sequence[str]) -> Figures:
    """Starts one of each kind and changes the mesh: their figures by kind; `changes` from the API's answer until applied,
    `applies` from the start of `kubectl apply`."""
    started = [await _start(changing, number, kind) for number, kind in enumerate(kinds)]
    figures: Figures = {}
    try:
        async with aiohttp.ClientSession() as session:
            begun = time.monotonic()
            first = await _first(session, changing, started)
            await asyncio.sleep(2.0)
            for one in started:
                figures[one.kind] = {
                    "first_ms": ms(first[one.child.pid] - begun),
                    "cpu_s": one.cpu(),
                    **one.memory(),
                }
            follow = Following(session, changing, started)
            figures["changes"] = await follow.writes()
            figures |= await follow.applies()
        for one in started:
            figures[one.kind]["after"] = one.memory()
    finally:
        for one in started:
            changing.children.stop(one.child)
    _, figures["control_memory"] = changing.usage()
    figures["write"] = summary(changing.writes)
    return figures


async def _start(changing: Changing, number: int, kind: str) -> Sidecar:
    pod = mesh.pod_of(number, 0)
    token = await changing.api.token(pod.namespace, pod.service_account)
    return sidecars.start(changing.children, changing.directory, changing.control, kind, pod, token, number)


async def _first(
    session: aiohttp.ClientSession, changing: Changing, started: list[Sidecar]
) -> dict[int, float]:
    try:
        return await synced(session, changing.control, started, {})
    except TimeoutError as error:
        tails = "\n".join(one.child.tail() for one in started)
        raise TimeoutError(f"{error}\n{tails}") from error


class Following:
    """Sidecars that are at rest, and changes they are to apply."""

    def __init__(self, session: aiohttp.ClientSession, changing: Changing, started: list[Sidecar]) -> None:
        self._session, self._changing, self._started = session, changing, started

    async def writes(self) -> Figures:
        """Each change made through the API."""

        async def write(change: mesh.Change) -> tuple[float, Figures]:
            return await self._changing.write(change), {}

        return {change.title: await self._rounds(change, write) for change in self._changing.changes()}

    async def applies(self) -> Figures:
        """Each change a user makes, made with kubectl; `kubectl` is what the process itself took. Without one, that there is none."""
        changing = self._changing
        if changing.kubectl is None:
            changing.say(MISSING)
            return {"kubectl": MISSING}

        async def apply(change: mesh.Change) -> tuple[float, Figures]:
            started, took = await changing.apply(change)
            return started, {"kubectl": took}

        made = [change for change in changing.changes() if is_applied(change)]
        await changing.kubectl.apply(
            made[0].make(changing.made[made[0].title])[1]
        )  # what it caches, it has now
        changing.made[made[0].title] += 1
        await asyncio.sleep(1.0)
        return {"applies": {change.title: await self._rounds(change, apply) for change in made}}

    async def _rounds(
        self, change: mesh.Change, make: Callable[[mesh.Change], Awaitable[tuple[float, Figures]]]
    ) -> Figures:
        times: Times = {}
        for _ in range(self._changing.rounds):
            for kind, took in (await self._one(change, make)).items():
                times.setdefault(kind, []).append(took)
        figures = {kind: summary(found) for kind, found in times.items()}
        self._changing.say(f"{change.title}: {figures}")
        return figures

    async def _one(
        self, change: mesh.Change, make: Callable[[mesh.Change], Awaitable[tuple[float, Figures]]]
    ) -> dict[str, float]:
        """How long after the moment that `make` answers each had applied it, in ms; and what else it answers."""
        session, control, started = self._session, self._changing.control, self._started
        known = await statuses(session, control)
        before = {name: status["version"] for name, status in known.items()}
        pages = {
            one: self._page(one, change)
            for one in started
            if one.kind == "envoy" or not _is_of_a_table(change)
        }
        contents = {one: page.content() for one, page in pages.items()}
        told = [one for one in started if one not in pages]
        # They may have applied it before a kubectl has ended.
        making = asyncio.ensure_future(make(change))
        waiting = [asyncio.create_task(page.changed(contents[one], _EVERY)) for one, page in pages.items()]
        found = await synced(session, control, told, before)
        since, took = await making
        took |= {one.kind: ms(found[one.child.pid] - since) for one in told}
        for one, task in zip(pages, waiting, strict=True):
            took[one.kind] = ms(await task - since)
            pages[one].close()
        if started:  # all acknowledged, so that the next change finds everyone at rest
            acknowledged = await synced(session, control, started, before)
            for one in started:
                took[f"{one.kind} acknowledged"] = ms(acknowledged[one.child.pid] - since)
        await asyncio.sleep(_PAUSE)
        return took

    def _page(self, sidecar: Sidecar, change: mesh.Change) -> Page:
        """The page of a sidecar that shows the change."""
        services = self._changing.services
        if "Service added" in change.title:
            return Page(sidecar, "clusters", _cluster(services + self._changing.made[change.title]))
        if "DestinationRule" in change.title:
            return Page(sidecar, "clusters", _cluster(0))
        if "endpoint" in change.title:
            return Page(sidecar, "endpoints", _cluster(services - 1))
        return Page(sidecar, "routes", str(mesh.PORT))


def _is_of_a_table(change: mesh.Change) -> bool:
    """Our page of the one large route table costs our sidecar more than the change; that it acknowledged says as much."""
    return "VirtualService" in change.title


def _cluster(service: int) -> str:
    host = f"{mesh.name_of(service)}.{mesh.namespace_of(service)}.svc.cluster.local"
    return f"outbound|{mesh.PORT}||{host}"
