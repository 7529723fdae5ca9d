"""Ends of peers that nobody reads from, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from proxy.net.hangups import Hangups
from tests.unit.proxy.net.test_event_loop import LOOPS, connected, reset, run


def half_close(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("leave", [socket.socket.close, reset, half_close])
@pytest.mark.parametrize("before", [True, False])
def test_an_end_is_told_once_behind_whatever_is_unread(
    before: bool, leave: Callable[[socket.socket], None], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        hangups = Hangups(asyncio.get_running_loop())
        with connected() as (peer, ours):
            told: list[int] = []
            ended = asyncio.Event()
            peer.sendall(b"unread")
            if before:
                leave(peer)
            hangups.watch(ours.fileno(), lambda: (told.append(1), ended.set()))  # type: ignore[func-returns-value, arg-type]
            if not before:
                await asyncio.sleep(0)
                assert not told
                leave(peer)
            await ended.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            assert told == [1]
            assert ours.recv(10) == b"unread"
        hangups.close()

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_forgotten_is_not_told(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        hangups = Hangups(asyncio.get_running_loop())
        with connected() as (peer, ours), connected() as (other_peer, other):
            told: list[str] = []
            ended = asyncio.Event()
            first, second = ours.fileno(), other.fileno()
            # Both end in one turn of the loop: whoever is told first forgets the other.
            hangups.watch(first, lambda: (told.append("one"), hangups.forget(second), ended.set()))  # type: ignore[func-returns-value, arg-type]
            hangups.watch(second, lambda: (told.append("other"), hangups.forget(first), ended.set()))  # type: ignore[func-returns-value, arg-type]
            peer.close()
            other_peer.close()
            await ended.wait()
            await asyncio.sleep(0)
            assert len(told) == 1
            hangups.forget(first)
            hangups.forget(999)
        hangups.close()
        hangups.close()

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_descriptor_that_was_closed_meanwhile_can_be_forgotten_and_watched_anew(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        hangups = Hangups(asyncio.get_running_loop())
        with connected() as (_, ours):
            fd = ours.fileno()
            hangups.watch(fd, lambda: None)
            ours.close()
            hangups.forget(fd)
        with connected() as (peer, again):
            ended = asyncio.Event()
            hangups.watch(again.fileno(), ended.set)
            peer.close()
            await ended.wait()
        hangups.close()

    run(loop, main)
