"""What a turn of the event loop wrote leaves at its end: once for each connection, in order, nothing lost on the way out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from unittest.mock import Mock

import pytest

from proxy.net.connection import Connection
from proxy.net.outbox import Outbox, outbox_of

Pair = tuple[Connection, socket.socket]


@pytest.fixture
async def pair() -> Iterator[Pair]:
    here, there = socket.socketpair()
    here.setblocking(False)
    there.setblocking(False)
    connection = Connection(asyncio.get_running_loop(), here, Mock())
    yield connection, there
    connection.close()
    there.close()


def received(there: socket.socket) -> bytes | None:
    """What has arrived; None: nothing yet."""
    try:
        return there.recv(1 << 20)
    except BlockingIOError:
        return None


async def test_a_turns_writes_leave_together_at_its_end(pair: Pair) -> None:
    connection, there = pair
    sends = Mock(side_effect=connection._send)
    connection._send = sends
    connection.write(b"one ")
    connection.write(b"two")
    assert received(there) is None
    await asyncio.sleep(0)
    assert received(there) == b"one two"
    assert sends.call_count == 1


async def test_the_next_turn_sends_anew(pair: Pair) -> None:
    connection, there = pair
    for text in (b"one", b"two"):
        connection.write(text)
        await asyncio.sleep(0)
        assert received(there) == text


async def test_long_writes_do_not_wait(pair: Pair) -> None:
    connection, there = pair
    connection.write(b"head")
    connection.write(b"b" * 16384)
    assert received(there) == b"head" + b"b" * 16384
    await asyncio.sleep(0)
    assert received(there) is None


@pytest.mark.parametrize("end", ["close", "finish_writing", "reset"])
async def test_what_is_due_leaves_before_the_end(pair: Pair, end: str) -> None:
    connection, there = pair
    connection.write(b"last")
    getattr(connection, end)()
    assert received(there) == b"last"


async def test_unsent_is_what_the_kernel_does_not_take(pair: Pair) -> None:
    connection, there = pair
    connection.write(b"some")
    assert connection.unsent == 0
    assert received(there) == b"some"


async def test_pieces_follow_what_was_written_before(pair: Pair) -> None:
    connection, there = pair
    connection.write(b"head ")
    connection.write_pieces([b"of ", b"two"])
    assert received(there) == b"head of two"


async def test_a_broken_peer_is_reported_after_the_turn(pair: Pair) -> None:
    connection, there = pair
    owner = connection.owner
    there.close()
    connection.write(b"nobody")
    owner.on_error.assert_not_called()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    owner.on_error.assert_called_once()
    assert connection.closed


async def test_a_loop_has_one_outbox_scheduled_once_a_turn() -> None:
    loop = asyncio.get_running_loop()
    assert outbox_of(loop) is outbox_of(loop)
    scheduler, senders = Mock(), [Mock(), Mock()]
    box = Outbox()
    for sender in senders:
        box.add(sender, scheduler)
    scheduler.call_soon.assert_called_once_with(box.end_turn)
    box.end_turn()
    for sender in senders:
        sender.flush.assert_called_once_with()
    box.add(senders[0], scheduler)
    assert scheduler.call_soon.call_count == 2


async def test_one_that_fails_leaves_the_others_their_turn(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    connection, there = pair
    loop = asyncio.get_running_loop()
    broken = Mock()
    broken.flush.side_effect = ValueError("broken")
    outbox_of(loop).add(broken, loop)
    for text in (b"this turn", b"and the next"):
        connection.write(text)
        await asyncio.sleep(0)
        assert received(there) == text
    assert "cannot send" in caplog.text
