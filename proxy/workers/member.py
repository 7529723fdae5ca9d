"""One other worker as the leading one sees it: what was said to it, what it still has to answer, what it told last."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import msgspec

from proxy import clock
from proxy.admin.host_status import HostStatus
from proxy.observability import logging
from proxy.workers.channel import Channel
from proxy.workers.messages import Answer, Ejected, News, Quit, StatsReport
from proxy.workers.process import Process

log = logging.logger("main")


class Member:
    """`number` is its place; the leader has 0. `serves`: it has what the leader has."""

    def __init__(self, number: int, process: Process) -> None:
        self.number, self.process = number, process
        self.serves = False
        self.ended = False
        self.started = clock.monotonic()
        self.last = StatsReport()
        self.hosts: dict[str, list[HostStatus]] = {}
        self.listens: set[tuple[str, int]] = set()  # addresses whose socket it was given
        self._channel: Channel[News]
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Answer | None]] = {}
        self._ids = 0

    async def listen(
        self, on_gone: Callable[[Member], None], on_ejected: Callable[[Member, Ejected], None]
    ) -> None:
        """Open the conversation; `on_gone` is called once, when the worker is gone."""
        self._channel = await Channel.open(self.process.ends, News)
        self._reading = asyncio.create_task(self._read(on_gone, on_ejected))

    async def _read(
        self, on_gone: Callable[[Member], None], on_ejected: Callable[[Member, Ejected], None]
    ) -> None:
        while (news := await self._channel.receive()) is not None:
            if isinstance(news, Ejected):
                on_ejected(self, news)
            else:
                self._answered(news)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()
        self._channel.close()
        self.serves, self.ended = False, True
        on_gone(self)

    def _answered(self, answer: Answer) -> None:
        if answer.stats is not None:
            self.last = answer.stats
        if answer.hosts:
            self.hosts = answer.hosts
        waiting = self._waiting.pop(answer.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def tell(self, message: msgspec.Struct) -> None:
        """Say something that needs no answer."""
        self._channel.send(message)

    def give_descriptor(self, number: int, announcement: msgspec.Struct) -> None:
        """Hand over a file descriptor. Raises OSError."""
        self._channel.send_descriptor(number)
        self._channel.send(announcement)

    async def ask(
        self, question: Callable[[int], msgspec.Struct], within: float, *, patient: bool = False
    ) -> Answer | None:
        """Ask, with an id, and wait for the answer, `within` s; None where it ended.

        One that takes longer is ended too, because it is stuck; but not by who is `patient`, and does without its answer.
        """
        if self.ended:
            return None
        self._ids += 1
        number = self._ids
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._channel.send(question(number))
        try:
            async with asyncio.timeout(within):
                found: Answer | None = await answer
                return found
        except TimeoutError:
            if not patient:
                log.error("worker %d does not answer", self.process.pid)
                self.abandon()
            return None
        finally:
            self._waiting.pop(number, None)

    def quit(self) -> None:
        """It is to end; at once, if there was no conversation with it yet."""
        if self._reading is not None:
            self._channel.send(Quit())
        else:
            self.process.end()
            self.ended = True

    def abandon(self) -> None:
        """It is of no use any more: it is killed, and then gone."""
        if not self.ended:
            os.kill(self.process.pid, signal.SIGKILL)

    async def until_ended(self) -> None:
        """Wait until it is gone."""
        if self._reading is not None:
            await self._reading

    def __repr__(self) -> str:
        return f"<Member {self.number} pid={self.process.pid}{' serves' if self.serves else ''}>"
