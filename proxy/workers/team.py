"""The leading worker's hold on the others: brings them its configuration and secrets, asks what they counted, replaces those that end.

A snapshot is prepared by every worker, the leader first, and only then made current, everywhere; one refusal refuses it for
all. Invariant: a worker that serves has the configuration and the secrets that the leader has; one that cannot keep up is
ended, and another takes its place, its listening sockets and what waits in them. Reference: docs/adr/0006.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from proxy import clock
from proxy.admin.host_status import HostStatus
from proxy.config.decode import SECRET, ConfigError
from proxy.observability import logging
from proxy.observability.stats import StatsStore
from proxy.tls.secrets import CertificateSecret, ValidationSecret
from proxy.workers import follower, merging, messages, process, shared_memory
from proxy.workers.follower import LoopFactory
from proxy.workers.listening_sockets import Address, ListeningSockets
from proxy.workers.member import Member
from proxy.workers.messages import Answer, Ask, Commit, Finish, Listen, Prepare, StatsReport
from proxy.workers.process import Place, Process
from proxy.workers.shared_memory import SharedMemory
from proxy.workers.team_pages import TeamPages
from proxy.workers.worker import Start, Worker
from proxy.xds.backoff import Backoff
from proxy.xds.resources import EMPTY, Resources

# A worker that says nothing for so long is stuck: building a large snapshot takes one or two.
ANSWER_SECONDS = 30.0
REPORT_SECONDS = 2.0
END_SECONDS = 2.0
REPORT_EVERY_SECONDS = 5.0  # a worker that is killed takes along what it counted since
_UNTAKEN = 128  # descriptors on their way to a worker: the kernel holds no more than some 270
_SETTLED_SECONDS = 10.0  # who lived so long did not end of how it was started

log = logging.logger("main")


class Team:
    """`begin(number)` starts the process of a worker that takes another's place; it may raise OSError."""

    def __init__(
        self, start: Start, memory: int, processes: Sequence[Process], begin: Callable[[int], Process]
    ) -> None:
        self._sockets = ListeningSockets(len(processes))
        self._shared = SharedMemory(memory, 0, len(processes) + 1)
        self.leader = Worker(start, bind=self._sockets.bind, shared=self._shared)
        self.pages = TeamPages(self)
        self._begin = begin
        self._members = [Member(number, process) for number, process in enumerate(processes, 1)]
        self._ended = StatsStore()  # what workers had counted that are gone
        self.ended_hosts: dict[str, list[HostStatus]] = {}  # and at the hosts of clusters
        self._applying = asyncio.Lock()
        self._configured = False
        self._drains: list[messages.Drain] = []
        self._closing = False
        self._backoffs = [Backoff(initial=0.01, maximum=10.0) for _ in processes]
        self._replacements: set[asyncio.Task[None]] = set()
        self._reporting: asyncio.Task[None] | None = None

    @classmethod
    def fork(cls, start: Start, concurrency: int, command: Sequence[str], loop_factory: LoopFactory) -> Team:
        """Start the others, beside this process. To be called before there is an event loop."""
        memory = shared_memory.create(concurrency)
        processes = process.fork(
            concurrency, memory, lambda place, ends: follower.run(start, place, ends, loop_factory)
        )
        return cls(
            start,
            memory,
            processes,
            lambda number: process.begin(command, Place(number, concurrency, memory)),
        )

    @property
    def concurrency(self) -> int:
        """Workers there should be, the leader included."""
        return len(self._members) + 1

    @property
    def pids(self) -> list[int]:
        """Of those that serve beside the leader."""
        return [member.process.pid for member in self._serving]

    @property
    def _serving(self) -> list[Member]:
        return [member for member in self._members if member.serves]

    async def open(self) -> None:
        """Greet the workers that were forked. The leader's data plane is open."""
        self.leader.secrets.subscribe(self._secret_changed)
        self.leader.stats.on_drop(self._ended.drop)
        self.leader.on_ejected = lambda cluster, host: self._tell_all(messages.Ejected(cluster, host))
        for member in self._members:
            await member.listen(self._gone, self._ejected_by)
            await self._join(member)
        self._reporting = asyncio.create_task(self._hear_reports(), name="reports of workers")

    # Configuration.

    async def apply(self, resources: Resources, version: str) -> None:
        """Make a snapshot current in every worker. Raises `ValueError` if any refuses it; then none has changed."""
        async with self._applying:
            configuration = self.leader.configuration
            prepared = await self.leader.prepare(resources, version)
            question = _difference(configuration.resources, resources, version)
            members = self._serving
            await self._all_prepared(members, question, version)
            configuration.commit(prepared)
            self._configured = True
            # Before the others commit: an address that comes back later is one that they have no socket for.
            manager = self.leader.data_plane.listeners
            self._sockets.keep_only({runtime.address for runtime in manager.listeners.values()})
            await asyncio.gather(*(self._commit(member) for member in members))
            for member in self._members:
                if member.ended:  # there may be addresses that nobody serves for it yet
                    self._serve_for(member.number)

    async def _all_prepared(
        self, members: Iterable[Member], question: Callable[[int], Prepare], version: str
    ) -> None:
        answers = await asyncio.gather(*(member.ask(question, ANSWER_SECONDS) for member in members))
        refusals = [answer.error for answer in answers if answer is not None and answer.error is not None]
        if refusals:
            self.leader.configuration.refused(version, refusals[0])
            raise ConfigError(refusals[0])

    async def _commit(self, member: Member) -> None:
        """Give it the listening sockets it lacks, and have it use what it prepared."""
        if member.ended:
            return
        await self._give_sockets(member)
        answer = await member.ask(Commit, ANSWER_SECONDS)
        if answer is not None and answer.error is not None:
            log.error("worker %d cannot use what it prepared: %s", member.process.pid, answer.error)
            member.abandon()

    async def _give_sockets(self, member: Member) -> None:
        lacking = [each for each in self._sockets.held.items() if each[0] not in member.listens]
        try:
            for number, (address, found) in enumerate(lacking, 1):
                member.give_descriptor(found[member.number - 1].fileno(), Listen(*address))
                if number % _UNTAKEN == 0:  # it answers when it took them
                    await member.ask(Ask, ANSWER_SECONDS)
        except OSError as error:
            log.error("worker %d does not take its listening sockets: %s", member.process.pid, error)
            member.abandon()
        member.listens = set(self._sockets.held)

    async def _join(self, member: Member) -> None:
        """Bring a new worker to where the others are."""
        async with self._applying:
            for secret in self.leader.secrets.all():
                member.tell(_secret(secret))
            member.tell(_levels())
            member.serves = True  # and from now on hears what changes
            if not self._configured:
                return
            configuration = self.leader.configuration
            question = _difference(EMPTY, configuration.resources, configuration.version)
            answer = await member.ask(question, ANSWER_SECONDS)
            if answer is None:
                return
            if answer.error is not None:
                log.error("worker %d refuses what others serve by: %s", member.process.pid, answer.error)
                member.abandon()
                return
            await self._commit(member)
            for order in self._drains:
                member.tell(order)
            self.leader.data_plane.listeners.leave_to(member.number)

    def _secret_changed(self, name: str) -> None:
        for secret in self.leader.secrets.all():
            if secret.name == name:
                self._tell_all(_secret(secret))

    def _tell_all(self, message: messages.Order) -> None:
        for member in self._serving:
            member.tell(message)

    def _ejected_by(self, teller: Member, news: messages.Ejected) -> None:
        self.leader.ejected_elsewhere(news.cluster, news.host)
        for member in self._serving:
            if member is not teller:
                member.tell(news)

    # What they count.

    async def stats(self) -> StatsStore:
        """The stats of all workers together, at this moment; of one that is too busy to answer, as of its last report."""
        answers = await self.ask(hosts=False)
        total = merging.merged(self.leader.stats, self._ended, [member.last for member in self._members])
        memory = follower.own_memory() + sum(answer.memory for answer in answers)
        total.gauge("server.memory_allocated").value = memory
        return total

    async def ask(self, *, hosts: bool) -> list[Answer]:
        """What each of the others tells of itself."""
        question = partial(Ask, hosts=hosts)
        answers = await asyncio.gather(
            *(member.ask(question, REPORT_SECONDS, patient=True) for member in self._serving)
        )
        return [answer for answer in answers if answer is not None]

    async def _hear_reports(self) -> None:
        """Now and then, whether or not anyone looks at a page."""
        while True:
            await asyncio.sleep(REPORT_EVERY_SECONDS)
            await self.ask(hosts=True)

    def reset_counters(self) -> None:
        """As the leader's own were."""
        self._ended.reset_counters()
        for member in self._members:
            member.last.counters.clear()  # what a worker that ends now had counted before does not come back
        self._tell_all(messages.ResetCounters())

    def levels_changed(self) -> None:
        """The leader's log levels are others' too."""
        self._tell_all(_levels())

    # Workers that end.

    def _gone(self, member: Member) -> None:
        status = os.waitstatus_to_exitcode(member.process.end())
        if self._closing:
            return
        merging.keep(self._ended, member.last)
        merging.keep_hosts(self.ended_hosts, member.hosts)
        member.last, member.hosts = StatsReport(), {}
        self._shared.forget(member.number)
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        log.error("worker %d ended %s; another takes its place", member.process.pid, how)
        if clock.monotonic() - member.started > _SETTLED_SECONDS:
            self._backoffs[member.number - 1].reset()
        self._serve_for(member.number)
        task = asyncio.create_task(self._replace(member.number))
        self._replacements.add(task)
        task.add_done_callback(self._replacements.discard)

    def _serve_for(self, number: int) -> None:
        """The leader serves what would wait for a worker that is gone."""
        manager = self.leader.data_plane.listeners
        lent: dict[Address, socket.socket] = {}
        try:
            for address, found in self._sockets.held.items():
                lent[address] = found[number - 1].dup()
        except OSError as error:  # no descriptor is left: what comes waits for the next worker
            log.error("what came to worker %d is not served meanwhile: %s", number, error)
        manager.accept_for(number, lent)

    async def _replace(self, number: int) -> None:
        """Start a worker in the place of one that ended: at once, and if that helps for moments only, less and less often."""
        backoff = self._backoffs[number - 1]
        while True:
            await asyncio.sleep(backoff.next(random.random()))  # noqa: S311 - spreads retries
            try:
                member = Member(number, self._begin(number))
                break
            except OSError as error:
                log.error("no worker can be started: %s", error)
        self._members[number - 1] = member
        await member.listen(self._gone, self._ejected_by)
        await self._join(member)

    # The end.

    def drain(self, *, inbound_only: bool, stop: bool) -> None:
        """As the leader's own worker does."""
        order = messages.Drain(inbound_only, stop)
        self._drains.append(order)
        self._tell_all(order)
        if stop:
            self._sockets.keep_only(())

    async def finish(self, within: float) -> None:
        """Have the others accept no more, and wait until nothing is in flight; at most `within` s."""
        self._sockets.keep_only(())
        question = partial(Finish, within=within)
        await asyncio.gather(*(member.ask(question, within + END_SECONDS) for member in self._serving))

    async def close(self) -> None:
        """End the others."""
        self._closing = True
        if self._reporting is not None:
            self._reporting.cancel()
        for task in self._replacements:
            task.cancel()
        self._sockets.keep_only(())
        members = [member for member in self._members if not member.ended]
        for member in members:
            member.quit()
        ending = [asyncio.create_task(member.until_ended()) for member in members]
        if ending:
            _, late = await asyncio.wait(ending, timeout=END_SECONDS)
            for member in members if late else ():
                member.abandon()
            await asyncio.gather(*ending)


def _difference(before: Resources, after: Resources, version: str) -> Callable[[int], Prepare]:
    """What leads from one snapshot to another. Secrets go their own way, as those that come from elsewhere do."""
    changed: dict[str, list[tuple[str, bytes, str, float]]] = {}
    removed: dict[str, list[str]] = {}
    for type_url, found in after.items():
        old = before.get(type_url, {})
        if type_url == SECRET or found is old:
            continue
        changed[type_url] = [
            (name, bytes(resource.raw), resource.version, resource.updated)
            for name, resource in found.items()
            if old.get(name) is not resource
        ]
        removed[type_url] = [name for name in old if name not in found]
    return partial(Prepare, version=version, changed=changed, removed=removed)


def _secret(secret: CertificateSecret | ValidationSecret) -> messages.Certificate | messages.Roots:
    if isinstance(secret, CertificateSecret):
        return messages.Certificate(secret.name, secret.chain_pem, secret.private_key_pem, secret.version)
    return messages.Roots(secret.name, secret.trusted_ca_pem, secret.version)


def _levels() -> messages.Levels:
    return messages.Levels({component: logging.level(component) for component in logging.LOGGERS})
