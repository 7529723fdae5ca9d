"""What a TLS connection holds while it says nothing: no buffer, however long what it said before was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.tls import engine
from proxy.tls.engine import TlsEngine, tidy
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.by_hand import KEY_UPDATE, Keys
from tests.unit.proxy.tls.engines import buffers, opened, sealed, shake, shake_and_say
from tests.unit.proxy.tls.raw_client import RawClient


def _contexts(ca: MeshCa) -> tuple[SslContext, SslContext]:
    both = SslContext(server=False), SslContext(server=True)
    for one in both:
        one.load_certificate(*ca.issue("spiffe://cluster.local/ns/default/sa/app"))
        one.verify_peer(ca.root_pem, required=True)
    return both


@pytest.fixture(scope="module")
def contexts() -> tuple[SslContext, SslContext]:
    """A client's and a server's."""
    return _contexts(MeshCa())


@pytest.fixture
def pair(contexts: tuple[SslContext, SslContext]) -> Iterator[tuple[TlsEngine, TlsEngine]]:
    """A client and a server that have only shaken hands, and nobody else for `tidy` to look at."""
    engine._untidy.clear()
    a, b = shake(*contexts)
    yield a, b
    a.free()
    b.free()
    assert not engine._untidy, "what is freed is not looked at"


def test_the_first_message_ends_what_the_handshake_took(pair: tuple[TlsEngine, TlsEngine]) -> None:
    a, b = pair
    assert buffers(a) == buffers(b) == 2
    assert a.decrypt(0) == b"", "the server's ticket came with the handshake's end"
    assert buffers(a) == 0
    assert opened(b, sealed(a, b"request")) == b"request"
    assert buffers(b) == 0
    assert opened(a, sealed(b, b"answer")) == b"answer"


@pytest.mark.parametrize("size", [1, 300_000])
def test_what_messages_took_is_given_back_once_it_is_quiet(
    pair: tuple[TlsEngine, TlsEngine], size: int
) -> None:
    data = b"x" * size
    for _ in range(3):
        for _ in range(2):  # of which the first is the handshake's end
            for source, target in (pair, pair[::-1]):
                assert opened(target, sealed(source, data)) == data
        assert [buffers(one) for one in pair] == [2, 2]
        tidy()
        assert [buffers(one) for one in pair] == [2, 2], "in use since the last time"
        tidy()
        assert [buffers(one) for one in pair] == [0, 0]
        assert not engine._untidy


def test_one_that_is_in_use_keeps_its_memory(pair: tuple[TlsEngine, TlsEngine]) -> None:
    a, b = pair
    opened(b, sealed(a, b"hello"))
    for _ in range(3):
        assert opened(b, sealed(a, b"x")) == b"x"
        assert opened(a, sealed(b, b"y")) == b"y"
        tidy()
        assert buffers(b) == 2


def test_many_that_are_quiet_at_once_take_turns(pair: tuple[TlsEngine, TlsEngine]) -> None:
    a, b = pair
    many = [TlsEngine(a.context) for _ in range(engine._TIDIED_AT_ONCE)]
    engine._untidy.update(many)
    assert opened(b, sealed(a, b"x")) == b"x"
    left = []
    for _ in range(3):
        tidy()
        left.append(len(engine._untidy))
    assert left == [2, 0, 0]


def test_letting_go_loses_nothing_of_a_record_that_came_in_part(pair: tuple[TlsEngine, TlsEngine]) -> None:
    a, b = pair
    for cut in range(1, 70):
        records = sealed(a, b"first") + sealed(a, b"second")
        clear = opened(b, records[:cut])
        b.let_go()
        assert buffers(b) == 0
        assert clear + opened(b, records[cut:]) == b"firstsecond"
    records, clear = sealed(a, b"x" * 40_000), b""
    for at in range(0, len(records), 5000):
        clear += opened(b, records[at : at + 5000])
        b.let_go()
    assert clear == b"x" * 40_000


def test_letting_go_keeps_what_came_with_the_handshakes_end(contexts: tuple[SslContext, SslContext]) -> None:
    a, b = shake_and_say(*contexts, b"at once")
    b.let_go()
    assert b.ahead
    assert b.decrypt(0) == b"at once"
    ticket = b.unsent()
    b.let_go()
    assert buffers(b) == 0
    assert opened(a, ticket + sealed(b, b"answer")) == b"answer"


def test_letting_go_within_a_message_of_tls_itself(mesh_ca: MeshCa) -> None:
    client, server = _contexts(mesh_ca)
    keys = Keys(client)
    a, b = shake(client, server)
    peer = keys.client()
    assert opened(b, peer.message(KEY_UPDATE[:4])) == b""
    b.let_go()
    assert b.awaits_rest
    assert opened(b, peer.message(KEY_UPDATE[4:])) == b""
    b.let_go()
    assert opened(a, sealed(b, b"heard")) == b"heard"
    peer.new_keys()
    b.let_go()
    assert opened(b, peer.data(b"more")) == b"more"


def test_letting_go_keeps_the_answers_that_are_owed(contexts: tuple[SslContext, SslContext]) -> None:
    try:
        client = RawClient()
    except OSError:
        pytest.skip("no libssl.so.3")
    context = SslContext(server=True)
    context.load_certificate(*MeshCa().issue("spiffe://cluster.local/ns/default/sa/app"))
    server = TlsEngine(context)
    try:
        client.shake(server)
        opened(server, client.ask_for_new_keys(1))
        for _ in range(3):
            server.let_go()
            assert opened(server, client.ask_for_new_keys(2)) == b"."
            server.let_go()
            assert buffers(server) == 1
            assert client.hear(sealed(server, b"x" * 1000)) == b"x" * 1000
    finally:
        client.free()
        server.free()
