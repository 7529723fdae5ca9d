"""TLS without sockets: every way bytes can come, every way a connection can end, with ourselves and with Python's TLS."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.tls.engine import INCOMING, TlsEngine
from proxy.tls.openssl import TlsError
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls import engines
from tests.unit.proxy.tls.by_hand import KEY_UPDATE, Keys
from tests.unit.proxy.tls.engines import Other, opened, sealed, shake, shake_and_say
from tests.unit.proxy.tls.raw_client import RawClient

NAME = "spiffe://cluster.local/ns/default/sa/app"


def context(ca: MeshCa, *, server: bool, **said: str) -> SslContext:
    found = SslContext(server=server, **said)
    found.load_certificate(*ca.issue(NAME))
    found.verify_peer(ca.root_pem, required=True)
    return found


@pytest.fixture(scope="module")
def contexts() -> tuple[SslContext, SslContext]:
    ca = MeshCa()
    return context(ca, server=False), context(ca, server=True)


@pytest.mark.parametrize("size", [1, 100, 16384, 16385, 65536, 65537, 300_000])
def test_bytes_of_any_length(contexts: tuple[SslContext, SslContext], size: int) -> None:
    a, b = shake(*contexts)
    data = bytes(i * 7 % 251 for i in range(size))
    for source, target in ((a, b), (b, a)):
        assert opened(target, sealed(source, data)) == data
        assert not target.ended


def test_records_split_at_every_byte(contexts: tuple[SslContext, SslContext]) -> None:
    a, b = shake(*contexts)
    for cut in range(1, 70):
        records = sealed(a, b"first") + sealed(a, b"second")
        assert opened(b, records[:cut]) + opened(b, records[cut:]) == b"firstsecond"
    assert opened(b, sealed(a, b"x" * 300), step=1) == b"x" * 300


@settings(max_examples=50, deadline=None)
@given(
    messages=st.lists(st.binary(max_size=40_000), max_size=6),
    steps=st.lists(st.integers(1, len(INCOMING)), min_size=1, max_size=30),
)
def test_any_messages_in_any_portions(messages: list[bytes], steps: list[int]) -> None:
    a, b = shake(*_CONTEXTS)
    records = b"".join(sealed(a, message) for message in messages)
    clear, at = b"", 0
    while at < len(records):
        step = steps.pop() if steps else len(INCOMING)
        clear += opened(b, records[at : at + step])
        at += step
    assert clear == b"".join(messages)


def test_what_comes_with_the_handshakes_end_is_not_forgotten(contexts: tuple[SslContext, SslContext]) -> None:
    _, b = shake_and_say(*contexts, b"at once")
    assert b.ahead
    assert b.decrypt(0) == b"at once"
    assert not b.ahead


def test_close_notify_ends_what_came_before_it(contexts: tuple[SslContext, SslContext]) -> None:
    a, b = shake(*contexts)
    assert opened(b, sealed(a, b"last words") + a.close_notify()) == b"last words"
    assert (b.ended, b.failure) == (True, None)
    assert opened(a, sealed(b, b"heard")) == b"heard", "the other direction goes on"


def test_a_record_that_was_tampered_with(contexts: tuple[SslContext, SslContext]) -> None:
    a, b = shake(*contexts)
    good, bad = sealed(a, b"good"), bytearray(sealed(a, b"bad"))
    bad[-1] ^= 1
    assert opened(b, good + bytes(bad) + sealed(a, b"after")) == b"good"
    assert b.ended
    assert b.failure is not None
    assert b.failure.reason == "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    alert = b.close_notify()
    assert opened(a, alert) == b""
    assert a.failure is not None
    assert a.failure.reason == "SSLV3_ALERT_BAD_RECORD_MAC"


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=2000))
def test_any_bytes_instead_of_a_handshake(data: bytes) -> None:
    for context in _CONTEXTS:
        engine = TlsEngine(context)
        engine.handshake()
        INCOMING[: len(data)] = data
        engine.take_in(len(data))
        with contextlib.suppress(TlsError):
            assert not engine.handshake()


def test_both_sides_know_each_other(contexts: tuple[SslContext, SslContext]) -> None:
    a, b = shake(*contexts, sni="outbound_.80_._.app.default.svc.cluster.local")
    for engine in (a, b):
        der = engine.peer_certificate()
        assert der is not None
        assert NAME.encode() in der
        assert [len(one) > 100 for one in engine.verified_chain()] == [True, True]
        assert engines.version(engine) == "TLSv1.3"
        assert not engine.session_reused


def test_a_session_is_resumed_as_often_as_one_likes(contexts: tuple[SslContext, SslContext]) -> None:
    a, b = shake(*contexts)
    assert opened(a, sealed(b, b"answer")) == b"answer"
    session = a.session
    assert session is not None
    a.close_notify()
    for engine in (a, b):
        engine.free()
    for _ in range(3):
        c, d = shake(*contexts, session=session)
        assert c.session_reused
        assert d.session_reused
        assert opened(c, sealed(d, b"x")) == b"x"


@pytest.mark.parametrize("alpn", [("h2", "http/1.1"), ("http/1.1",), ("other",)])
def test_alpn_is_the_servers_first_that_the_client_offers(mesh_ca: MeshCa, alpn: tuple[str, ...]) -> None:
    client, server = context(mesh_ca, server=False), context(mesh_ca, server=True)
    client.set_alpn(alpn)
    server.set_alpn(("istio", "http/1.1", "h2"))
    a, b = shake(client, server)
    assert engines.alpn(a) == engines.alpn(b) == ("http/1.1" if "http/1.1" in alpn else "")


def test_after_free_nothing_reaches_openssl(contexts: tuple[SslContext, SslContext]) -> None:
    a, _ = shake(*contexts)
    a.free()
    a.free()
    with pytest.raises(TypeError):
        a.decrypt(0)
    with pytest.raises(TypeError):
        a.peer_certificate()


# What configuration may hold.


def test_a_certificate_that_is_not_the_keys(mesh_ca: MeshCa) -> None:
    chain, _ = mesh_ca.issue(NAME)
    _, key = mesh_ca.issue(NAME)
    with pytest.raises(TlsError) as refused:
        SslContext(server=True).load_certificate(chain, key)
    assert refused.value.reason == "KEY_VALUES_MISMATCH"


def test_a_key_behind_a_password_is_refused_and_not_asked_for(mesh_ca: MeshCa) -> None:
    chain, key = mesh_ca.issue(NAME)
    locked = serialization.load_pem_private_key(key.encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(TlsError, match="private key"):
        SslContext(server=True).load_certificate(chain, locked.decode())


@pytest.mark.parametrize(
    "pem", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"]
)
def test_roots_that_are_none(pem: str) -> None:
    with pytest.raises(TlsError, match="certificate"):
        SslContext(server=False).verify_peer(pem, required=True)


def test_a_broken_certificate_behind_a_good_one(mesh_ca: MeshCa) -> None:
    broken = mesh_ca.root_pem + "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"
    with pytest.raises(TlsError, match="certificate"):
        SslContext(server=False).verify_peer(broken, required=True)


def test_an_intermediate_may_be_what_is_trusted(mesh_ca: MeshCa) -> None:
    """A chain need not end in a root. Real Envoy 1.40 takes the same three certificates."""
    server, client = SslContext(server=True), SslContext(server=False)
    intermediate = MeshCa(mesh_ca)
    chain, key = intermediate.issue(NAME)
    server.load_certificate(chain + intermediate.root_pem, key)
    client.verify_peer(intermediate.root_pem, required=True)
    assert len(list(shake(client, server)[0].verified_chain())) == 2


def test_ciphers_that_are_none() -> None:
    with pytest.raises(TlsError, match="NO_CIPHER_MATCH"):
        SslContext(server=True).set_ciphers(["NONSENSE"])


def test_ciphers_without_forward_secrecy_must_be_asked_for(contexts: tuple[SslContext, SslContext]) -> None:
    """Nor with CBC: as Envoy's own list."""
    for cipher in ("ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        client = SslContext(server=False, maximum="TLSv1_2")
        client.set_ciphers([cipher])
        server = SslContext(server=True)
        server.load_certificate(*MeshCa().issue(NAME))
        if cipher.startswith("ECDHE") and cipher.endswith("GCM-SHA256"):
            shake(client, server)
            continue
        with pytest.raises(TlsError, match="NO_SHARED_CIPHER"):
            shake(client, server)


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128])
@pytest.mark.parametrize("server", [True, False])
def test_alpn_that_tls_cannot_say(name: str, *, server: bool) -> None:
    with pytest.raises(TlsError, match="INVALID_ALPN_PROTOCOL_LIST"):
        SslContext(server=server).set_alpn(["h2", name])


def test_a_server_name_that_is_too_long(contexts: tuple[SslContext, SslContext]) -> None:
    with pytest.raises(TlsError, match="server name"):
        TlsEngine(contexts[0], "x" * 300)


# With one who asks for new keys again and again.


@pytest.fixture
def asking() -> Iterator[tuple[RawClient, TlsEngine]]:
    try:
        client = RawClient()
    except OSError:
        pytest.skip("no libssl.so.3")
    context = SslContext(server=True)
    context.load_certificate(*MeshCa().issue(NAME))
    server = TlsEngine(context)
    client.shake(server)
    yield client, server
    client.free()


def test_what_it_is_answered_leaves_nothing_of_a_message_behind(asking: tuple[RawClient, TlsEngine]) -> None:
    client, server = asking
    for times in (1, 25, 31):
        for _ in range(10):
            assert opened(server, client.ask_for_new_keys(times)) == b"."
        assert client.hear(sealed(server, b"x" * 16_384)) == b"x" * 16_384
        assert client.hear(sealed(server, b"y" * 65_536)) == b"y" * 65_536


def test_one_who_never_hears_the_answers_is_refused(asking: tuple[RawClient, TlsEngine]) -> None:
    client, server = asking
    times = 0
    while not server.ended and times < 100:
        opened(server, client.ask_for_new_keys(30))
        times += 1
    assert 10 < times < 50
    assert server.failure is not None
    assert server.failure.reason == "TOO_MANY_KEY_UPDATES"


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_nothing_is_said_within_a_message_of_tls_itself(mesh_ca: MeshCa, cut: int) -> None:
    """OpenSSL would close the connection; from where it has read the message's head."""
    client = context(mesh_ca, server=False)
    keys = Keys(client)
    a, b = shake(client, context(mesh_ca, server=True))
    peer = keys.client()
    assert opened(b, peer.data(b"hello") + peer.message(KEY_UPDATE[:cut])) == b"hello"
    assert b.awaits_rest == (cut == 4)
    if b.awaits_rest:
        assert b.encrypt(b"no") == b.encrypt(b"nor this") == 0
        assert b.close_notify() == b""
    assert opened(b, peer.message(KEY_UPDATE[cut:])) == b""
    assert not b.awaits_rest
    assert opened(a, sealed(b, b"heard")) == b"heard"
    peer.new_keys()
    assert opened(b, peer.data(b"more")) == b"more"
    assert opened(a, sealed(b, b"x" * 70_000)) == b"x" * 70_000
    assert (b.ended, b.failure) == (False, None)


def test_a_message_of_tls_itself_is_not_interrupted(mesh_ca: MeshCa) -> None:
    client = context(mesh_ca, server=False)
    keys = Keys(client)
    _, b = shake(client, context(mesh_ca, server=True))
    peer = keys.client()
    assert opened(b, peer.message(KEY_UPDATE[:4]) + peer.data(b"data")) == b""
    assert b.failure is not None
    with pytest.raises(TlsError):
        b.encrypt(b"answer")
    assert not b.awaits_rest


# With Python's TLS.


def _pythons(ca: MeshCa, tmp_path: Path, *, server: bool) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname = False
    chain, key = ca.issue(NAME)
    (tmp_path / "pair.pem").write_text(key + chain)
    found.load_cert_chain(tmp_path / "pair.pem")
    found.load_verify_locations(cadata=ca.root_pem)
    found.verify_mode = ssl.CERT_REQUIRED
    return found


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("server", [True, False])
def test_with_pythons_tls(mesh_ca: MeshCa, tmp_path: Path, *, server: bool, version: str) -> None:
    """`server`: it is."""
    names: list[str] = []
    theirs = _pythons(mesh_ca, tmp_path, server=server)
    theirs.maximum_version = getattr(ssl.TLSVersion, version)
    theirs.set_alpn_protocols(["istio"])
    if server:
        theirs.sni_callback = lambda _socket, name, _context: names.append(name)  # type: ignore[assignment, misc]
    ours = context(mesh_ca, server=not server)
    ours.set_alpn(["http/1.1", "istio"])
    engine = TlsEngine(ours, "outbound_.80_._.app")
    other = Other(theirs, server=server)
    other.shake(engine)
    assert engines.version(engine) == version.replace("_", ".")
    assert engines.alpn(engine) == other.tls.selected_alpn_protocol() == "istio"
    assert names == (["outbound_.80_._.app"] if server else [])
    other.tls.write(b"x" * 16_000)
    assert opened(engine, other.outgoing.read()) == b"x" * 16_000
    other.incoming.write(sealed(engine, b"y" * 16_000) + engine.close_notify())
    assert other.tls.read(16_384) == b"y" * 16_000
    assert other.tls.read(1) == b""
    other.tls.unwrap()
    assert opened(engine, other.outgoing.read()) == b""
    assert (engine.ended, engine.failure) == (True, None)


def test_why_a_peer_is_refused_is_told_to_both(mesh_ca: MeshCa, tmp_path: Path) -> None:
    engine = TlsEngine(context(MeshCa(), server=False))
    with pytest.raises(TlsError) as refused:
        Other(_pythons(mesh_ca, tmp_path, server=True), server=True).shake(engine)
    assert refused.value.reason == "CERTIFICATE_VERIFY_FAILED"
    assert "certificate" in refused.value.detail
    other = Other(_pythons(mesh_ca, tmp_path, server=True), server=True)
    engine = TlsEngine(context(MeshCa(), server=False))
    with pytest.raises(TlsError):
        other.shake(engine)
    other.incoming.write(engine.unsent())
    with pytest.raises(ssl.SSLError, match="ALERT_DECRYPT_ERROR"):
        other.tls.do_handshake()


_CA = MeshCa()
_CONTEXTS = (context(_CA, server=False), context(_CA, server=True))
