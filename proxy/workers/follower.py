"""A worker beside the leading one: serves with what it is told, and tells what it counted.

Does one thing after another, in the order told. Ends when told so, or when the leader is gone. Reference: docs/adr/0006.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy.admin.host_status import of_host
from proxy.configuration import PreparedConfiguration
from proxy.observability import logging
from proxy.workers import process
from proxy.workers.channel import Channel, Ends
from proxy.workers.merging import report
from proxy.workers.messages import (
    Answer,
    Ask,
    Certificate,
    Commit,
    Drain,
    Ejected,
    Finish,
    Levels,
    Listen,
    Order,
    Prepare,
    Quit,
    ResetCounters,
    Roots,
)
from proxy.workers.process import Place
from proxy.workers.shared_memory import SharedMemory
from proxy.workers.worker import Start, Worker
from proxy.xds.resources import EMPTY, Resource, Resources

log = logging.logger("main")

LoopFactory = Callable[[], asyncio.AbstractEventLoop] | None
"""None is asyncio's own."""


def run(start: Start, place: Place, ends: Ends, loop_factory: LoopFactory) -> int:
    """Serve until told to end; the exit status."""
    process.leave_signals_to_the_leader()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(Follower(start, place).run(ends))


class Follower:
    """One worker that is told what to do."""

    def __init__(self, start: Start, place: Place) -> None:
        shared = SharedMemory(place.memory, place.number, place.workers)
        self._worker = Worker(start, leads=False, bind=self._bind, shared=shared)
        self._listening: dict[tuple[str, int], socket.socket] = {}
        self._resources: Resources = EMPTY
        self._prepared: PreparedConfiguration | None = None
        self._finishing: set[asyncio.Task[None]] = set()

    async def run(self, ends: Ends) -> int:
        """Do what the leader says until it says to end, or is gone."""
        channel = self._channel = await Channel[Order].open(ends, Order)
        self._worker.on_ejected = lambda cluster, host: channel.send(Ejected(cluster, host))
        try:
            self._worker.open(asyncio.get_running_loop())
        except ValueError:  # the bootstrap's own resources: the leader says what is wrong with them
            return 1
        housekeeping = asyncio.create_task(self._worker.housekeeping())
        try:
            while True:
                order = await channel.receive()
                if isinstance(order, Quit):
                    return 0
                if order is None:
                    log.error("the leading worker is gone")
                    return 1
                await self._do(order)
        finally:
            housekeeping.cancel()
            self._worker.close()
            self._answer(0)
            await channel.flush()

    async def _do(self, order: Order) -> None:
        worker = self._worker
        match order:
            case Prepare():
                await self._prepare(order)
            case Listen():
                found = socket.socket(fileno=self._channel.take_descriptor())
                self._listening[order.host, order.port] = found
            case Commit():
                self._commit(order)
            case Certificate():
                worker.secrets.set_certificate(
                    order.name, order.chain_pem, order.private_key_pem, order.version
                )
            case Roots():
                worker.secrets.set_validation(order.name, order.trusted_ca_pem, order.version)
            case Ask():
                self._answer(order.id, hosts=order.hosts)
            case Levels():
                for component, level in order.levels.items():
                    logging.set_level(level, component)
            case Drain():
                worker.drain(inbound_only=order.inbound_only, stop=order.stop)
            case Finish():
                self._finishing.add(asyncio.create_task(self._finish(order)))
            case ResetCounters():
                worker.stats.reset_counters()
            case Ejected():
                worker.ejected_elsewhere(order.cluster, order.host)

    # Configuration.

    async def _prepare(self, order: Prepare) -> None:
        # A type of which nothing changed stays the mapping it is: that tells so.
        resources = dict(self._resources)
        for type_url, changed in order.changed.items():
            found = dict(resources[type_url])
            for name in order.removed[type_url]:
                found.pop(name, None)
            for name, raw, version, updated in changed:
                found[name] = Resource(name, msgspec.Raw(raw), version, updated)
            resources[type_url] = found
        try:
            self._prepared = await self._worker.prepare(resources, order.version)
        except ValueError as error:
            self._prepared = None
            self._channel.send(Answer(order.id, str(error)))
        else:
            self._channel.send(Answer(order.id))

    def _commit(self, order: Commit) -> None:
        assert self._prepared is not None
        try:
            self._worker.configuration.commit(self._prepared)
        except ValueError as error:
            self._channel.send(Answer(order.id, str(error)))
            return
        self._resources, self._prepared = self._prepared.resources, None
        self._channel.send(Answer(order.id))

    def _bind(self, address: tuple[str, int]) -> socket.socket:
        found = self._listening.pop(address, None)
        if found is None:
            raise OSError(os.EX_UNAVAILABLE, "the leading worker has no socket for it")
        return found

    # What it tells.

    def _answer(self, number: int, *, hosts: bool = False) -> None:
        clusters = self._worker.data_plane.clusters.clusters if hosts else {}
        self._channel.send(
            Answer(
                number,
                None,
                report(self._worker.stats),
                {name: [of_host(host) for host in cluster.hosts] for name, cluster in clusters.items()},
                own_memory(),
            )
        )

    async def _finish(self, order: Finish) -> None:
        await self._worker.finish(order.within)
        self._channel.send(Answer(order.id))


def own_memory() -> int:
    """This process's share of the memory in use, bytes: what it shares with others counts in part (PSS)."""
    try:
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # an old kernel, or a hardened one
    return 0
