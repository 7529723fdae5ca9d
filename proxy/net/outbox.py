"""What connections write during one turn of the event loop leaves together, at its end.

A send right after each read would wake the receiver for every single message, an interrupt to another CPU each time; after all reads
of the turn, one wake-up serves a burst of messages. The order within a connection stays, and so does what a turn costs: the
loop calls what was scheduled before it polls again. Decides nothing about what is sent.
Reference: Envoy's ConnectionImpl::write, which only activates its socket's write event.
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

from proxy.observability import logging

log = logging.logger("connection")


class Sender:
    """What has something to send."""

    __slots__ = ()

    def flush(self) -> None:
        """The turn ends: send now; harmless when that was done meanwhile."""
        raise NotImplementedError


class Outbox:
    """Of one event loop."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: list[Sender] = []

    def add(self, sender: Sender, loop: asyncio.AbstractEventLoop) -> None:
        """Have `sender.flush()` called when this turn of `loop` ends."""
        self._due.append(sender)
        if len(self._due) == 1:
            loop.call_soon(self.end_turn)

    def end_turn(self) -> None:
        """Everybody sends, which calls nobody who could add to the list. One that fails leaves the others their turn."""
        for sender in self._due:
            try:
                sender.flush()
            except Exception:
                log.exception("%r cannot send", sender)
        self._due.clear()


_outboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox_of(loop: asyncio.AbstractEventLoop) -> Outbox:
    """The loop's outbox, the same for all its connections."""
    found = _outboxes.get(loop)
    if found is None:
        found = _outboxes[loop] = Outbox()
    return found
