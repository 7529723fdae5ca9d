"""A connection with TLS over a socket that takes and gives what the test wants; the peer is an engine."""

from __future__ import annotations

import pytest

from proxy.net.connection import BURST, HIGH_WATER
from proxy.net.tls_connection import TlsConnection
from proxy.net.tls_socket import TlsSocket
from proxy.tls.engine import INCOMING, MOST, TlsEngine
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.in_memory import FakeLoop, FakeSocket
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.net.test_connection import Recorder
from tests.unit.proxy.tls.by_hand import KEY_UPDATE, Keys
from tests.unit.proxy.tls.engines import hand_over, opened, sealed


class CountingSocket(FakeSocket):
    """How many times it was asked to send, and to receive."""

    sends = receives = 0

    def send(self, data: bytes | memoryview) -> int:
        self.sends += 1
        return super().send(data)

    def recv_into(self, buffer: bytearray) -> int:
        self.receives += 1
        return super().recv_into(buffer)


class Dialogue:
    """Our connection, a server's, and its client. `early` comes with the last bytes of the handshake."""

    def __init__(self, ca: MeshCa, early: bytes = b"") -> None:
        server, client = SslContext(server=True), SslContext(server=False)
        server.load_certificate(*ca.issue("spiffe://cluster.local/ns/a/sa/b"))
        client.verify_peer(ca.root_pem, required=True)
        self.keys = Keys(client)
        ours, self.peer = TlsEngine(server), TlsEngine(client)
        assert not self.peer.handshake()
        hand_over(self.peer, ours)
        assert not ours.handshake()
        hand_over(ours, self.peer)
        assert self.peer.handshake()
        said = self.peer.unsent() + sealed(self.peer, early)
        INCOMING[: len(said)] = said
        ours.take_in(len(said))
        assert ours.handshake()
        opened(self.peer, ours.unsent())
        self.loop, self.owner = FakeLoop(), Recorder()
        self.sock = CountingSocket(self.loop)
        end = TlsSocket(self.sock, ours)  # type: ignore[arg-type]
        self.connection = TlsConnection(self.loop, end, self.owner)  # type: ignore[arg-type]

    def say(self, *messages: bytes) -> None:
        """Everything in portions of what one recv gives."""
        records = b"".join(sealed(self.peer, message) for message in messages)
        for at in range(0, len(records), len(INCOMING)):
            self.sock.receive(records[at : at + len(INCOMING)])

    def heard(self) -> bytes:
        return opened(self.peer, self.sock.take())


@pytest.fixture
def dialogue(mesh_ca: MeshCa) -> Dialogue:
    return Dialogue(mesh_ca)


def test_a_message_is_one_recv_and_one_send(dialogue: Dialogue) -> None:
    dialogue.connection.start()
    dialogue.say(b"GET / HTTP/1.1\r\n\r\n")
    dialogue.connection.write(b"HTTP/1.1 200 OK\r\n\r\n")
    assert dialogue.owner.data == b"GET / HTTP/1.1\r\n\r\n"
    assert dialogue.heard() == b"HTTP/1.1 200 OK\r\n\r\n"
    assert (dialogue.sock.receives, dialogue.sock.sends) == (1, 1)


def test_many_records_are_one_recv_and_one_send(dialogue: Dialogue) -> None:
    dialogue.connection.start()
    dialogue.say(*[b"x" * 10_000] * 6)
    assert (len(dialogue.owner.data), dialogue.sock.receives) == (60_000, 1)
    dialogue.connection.write(b"y" * MOST)
    assert dialogue.sock.sends == 1
    dialogue.connection.write_pieces([b"z" * 20_000, b"", b"z" * 20_000, b"z" * 20_000])
    assert dialogue.sock.sends == 2
    assert dialogue.heard() == b"y" * MOST + b"z" * 60_000


def test_what_came_with_the_handshake_is_read_first(mesh_ca: MeshCa) -> None:
    """No event announces it; and who pauses at once is told later."""
    dialogue = Dialogue(mesh_ca, early=b"early ")
    dialogue.connection.start()
    dialogue.connection.pause_reading()
    dialogue.loop.advance(0)
    assert not dialogue.owner.data
    dialogue.connection.resume_reading()
    dialogue.loop.advance(0)
    assert dialogue.owner.data == b"early "
    dialogue.say(b"and late")
    assert dialogue.owner.data == b"early and late"


@pytest.mark.parametrize("portion", [1, 1000, 16_406, 70_000])
def test_what_the_kernel_does_not_take_is_kept_in_order(dialogue: Dialogue, portion: int) -> None:
    connection, sock = dialogue.connection, dialogue.sock
    connection.start()
    sock.capacity = 0
    wanted = b"a" * 100 + b"b" * HIGH_WATER + b"c"
    connection.write(b"a" * 100)
    connection.write(b"b" * HIGH_WATER)
    connection.write(b"c")
    assert connection.congested
    assert connection.unsent == len(wanted)
    heard = b""
    for _ in range(3):
        sock.capacity = portion
        dialogue.loop.writers[sock.fd]()
        heard += dialogue.heard()
    assert not dialogue.owner.drains
    sock.drain()
    assert heard + dialogue.heard() == wanted
    assert (connection.unsent, connection.congested, dialogue.owner.drains) == (0, False, 1)


def test_an_end_is_told_after_what_came_before_it(dialogue: Dialogue) -> None:
    dialogue.connection.start()
    dialogue.sock.receive(sealed(dialogue.peer, b"last words") + dialogue.peer.close_notify())
    assert dialogue.owner.data == b"last words"
    assert not dialogue.owner.eof.is_set()
    dialogue.loop.advance(0)
    assert dialogue.owner.eof.is_set()
    dialogue.connection.write(b"heard")
    assert dialogue.heard() == b"heard"


def test_a_reset_behind_a_message_is_an_error_after_it(dialogue: Dialogue) -> None:
    filled = sealed(dialogue.peer, b"x" * 70_000)[: len(INCOMING)]
    dialogue.sock.incoming = [filled, ConnectionResetError(104, "reset")]
    dialogue.connection.start()
    dialogue.sock.readable()
    assert dialogue.owner.data == b"x" * 3 * 16_384
    assert dialogue.owner.error is None
    dialogue.loop.advance(0)
    assert isinstance(dialogue.owner.error, ConnectionResetError)


def test_a_record_that_was_tampered_with_is_an_error_after_the_good_ones(dialogue: Dialogue) -> None:
    dialogue.connection.start()
    bad = bytearray(sealed(dialogue.peer, b"good") + sealed(dialogue.peer, b"bad"))
    bad[-1] ^= 1
    dialogue.sock.receive(bytes(bad))
    assert dialogue.owner.data == b"good"
    dialogue.loop.advance(0)
    assert "BAD_RECORD_MAC" in str(dialogue.owner.error)
    assert dialogue.sock.closed
    assert dialogue.heard() == b""
    assert dialogue.peer.failure is not None
    assert "ALERT" in str(dialogue.peer.failure)


def test_half_closing_says_so_behind_everything(dialogue: Dialogue) -> None:
    dialogue.connection.start()
    dialogue.sock.capacity = 50
    dialogue.connection.write(b"x" * 1000)
    dialogue.connection.finish_writing()
    assert not dialogue.sock.write_ended
    dialogue.sock.drain()
    assert dialogue.sock.write_ended
    assert dialogue.heard() == b"x" * 1000
    assert (dialogue.peer.ended, dialogue.peer.failure) == (True, None)
    dialogue.say(b"still heard")
    assert dialogue.owner.data == b"still heard"
    dialogue.connection.close()
    assert not dialogue.sock.sent, "it was said already"


def test_a_send_that_fails_leaves_nothing_to_send(
    dialogue: Dialogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes | memoryview) -> int:
        raise BrokenPipeError

    dialogue.connection.start()
    monkeypatch.setattr(dialogue.sock, "send", broken)
    dialogue.connection.write(b"x" * 20_000)
    assert dialogue.sock.fd not in dialogue.loop.writers, "before the failure is told"
    dialogue.loop.advance(0)
    assert isinstance(dialogue.owner.error, BrokenPipeError)
    assert dialogue.connection.closed


def test_an_end_that_the_kernel_takes_in_parts(dialogue: Dialogue) -> None:
    dialogue.connection.start()
    dialogue.sock.capacity = 10
    dialogue.connection.finish_writing()
    assert not dialogue.sock.write_ended
    dialogue.sock.drain()
    assert dialogue.sock.write_ended
    assert dialogue.heard() == b""
    assert (dialogue.peer.ended, dialogue.peer.failure) == (True, None)


@pytest.mark.parametrize("stuck", [False, True])
def test_closing_says_so_unless_a_record_is_half_sent(dialogue: Dialogue, stuck: bool) -> None:
    if stuck:
        dialogue.sock.capacity = 100
    dialogue.connection.write(b"x" * 1000)
    dialogue.sock.capacity = None
    dialogue.connection.close()
    dialogue.connection.close()
    assert dialogue.heard() == (b"" if stuck else b"x" * 1000)
    assert dialogue.peer.ended is not stuck
    assert dialogue.sock.closed


def test_a_reset_says_nothing(dialogue: Dialogue) -> None:
    dialogue.connection.reset()
    assert dialogue.sock.was_reset
    assert not dialogue.sock.sent


# Within a message of TLS itself, of which the peer has sent a part.

FIRST, REST = KEY_UPDATE[:4], KEY_UPDATE[4:]


def test_what_is_written_waits_for_the_rest(dialogue: Dialogue) -> None:
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    connection.write(b"small ")
    connection.write(b"large" * 20_000)
    connection.write_pieces([b" in", b" pieces"])
    assert not dialogue.sock.sent
    assert not connection.closed
    assert not dialogue.loop.writers, "the kernel would take it, again and again"
    dialogue.sock.receive(peer.message(REST))
    dialogue.loop.advance(0)
    assert dialogue.heard() == b"small " + b"large" * 20_000 + b" in pieces"
    assert (connection.unsent, dialogue.owner.drains) == (0, 1)
    peer.new_keys()
    dialogue.sock.receive(peer.data(b"more"))
    assert dialogue.owner.data == b"more"
    connection.write(b"and more")
    assert dialogue.heard() == b"and more"


def test_many_bytes_that_wait_are_congestion(dialogue: Dialogue) -> None:
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    connection.write(b"x" * (HIGH_WATER + 1))
    assert connection.congested
    dialogue.sock.capacity = 1000
    dialogue.sock.receive(peer.message(REST))
    dialogue.loop.advance(0)
    assert (connection.congested, dialogue.owner.drains) == (True, 0)
    dialogue.sock.drain()
    assert dialogue.heard() == b"x" * (HIGH_WATER + 1)
    assert (connection.congested, dialogue.owner.drains) == (False, 1)


def test_the_rest_is_read_though_the_owner_has_paused(dialogue: Dialogue) -> None:
    """Who answers reads no more before the answer has gone."""
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.data(b"GET ") + peer.message(FIRST))
    connection.write(b"one")
    connection.pause_reading()
    connection.write(b", two")
    rest = peer.message(REST)
    peer.new_keys()
    dialogue.sock.receive(rest + peer.data(b"for later"))
    assert dialogue.heard() == b"one, two"
    assert dialogue.owner.data == b"GET "
    assert dialogue.sock.fd not in dialogue.loop.readers
    connection.resume_reading()
    dialogue.loop.advance(0)
    assert dialogue.owner.data == b"GET for later"
    assert connection.bytes_in == len(b"GET for later")


def test_who_pauses_first_and_then_writes(dialogue: Dialogue) -> None:
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    connection.pause_reading()
    assert not dialogue.loop.readers
    connection.write(b"answer")
    dialogue.sock.receive(peer.message(REST))
    assert dialogue.heard() == b"answer"
    assert not dialogue.loop.readers


def test_one_who_never_comes_to_the_end_of_it_fills_no_memory(dialogue: Dialogue) -> None:
    """Behind each rest comes more for the owner, and the next message in part."""
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    connection.write(b"answer")
    connection.pause_reading()
    most = 0
    for _ in range(2 * BURST // 15_000):
        if not connection.closed:
            rest = peer.message(REST)
            peer.new_keys()
            dialogue.sock.receive(rest + peer.data(b"x" * 15_000) + peer.message(FIRST))
            most = max(most, len(connection._kept))
    assert most <= BURST + 15_000
    assert "TOO_MANY_KEY_UPDATES" in str(dialogue.owner.error)
    assert (connection.closed, dialogue.loop.readers, dialogue.loop.writers) == (True, {}, {})


@pytest.mark.parametrize("paused", [False, True])
def test_without_the_rest_what_is_written_fails(dialogue: Dialogue, paused: bool) -> None:
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    connection.write(b"answer")
    if paused:
        connection.pause_reading()
    dialogue.sock.receive(b"")
    dialogue.loop.advance(0)
    assert "EOF" in str(dialogue.owner.error)
    assert (connection.closed, dialogue.owner.drains, dialogue.loop.readers) == (True, 0, {})


def test_what_is_written_when_the_peer_has_ended_within(dialogue: Dialogue) -> None:
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    dialogue.sock.receive(b"")
    assert dialogue.owner.eof.is_set()
    connection.write(b"answer")
    dialogue.loop.advance(0)
    assert "EOF" in str(dialogue.owner.error)


def test_half_closing_within_waits_to_say_so(dialogue: Dialogue) -> None:
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    connection.finish_writing()
    assert not dialogue.sock.write_ended
    assert not dialogue.loop.writers
    dialogue.sock.receive(peer.message(REST))
    dialogue.loop.advance(0)
    assert dialogue.sock.write_ended
    assert dialogue.heard() == b""
    assert (dialogue.peer.ended, dialogue.peer.failure) == (True, None)


def test_closing_within_leaves_nothing_registered(dialogue: Dialogue) -> None:
    connection, peer = dialogue.connection, dialogue.keys.client()
    connection.start()
    dialogue.sock.receive(peer.message(FIRST))
    connection.write(b"answer")
    connection.pause_reading()
    assert dialogue.loop.readers
    connection.close()
    assert (dialogue.loop.readers, dialogue.loop.writers) == ({}, {})
    dialogue.loop.advance(0)
