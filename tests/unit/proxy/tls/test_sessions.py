"""Which sessions are kept and offered, and what ends them."""

from __future__ import annotations

import ssl
from typing import Any

from proxy.config.secret import DownstreamTlsContext, UpstreamTlsContext
from proxy.tls.contexts import downstream_context, upstream_context
from proxy.tls.sessions import READS, Sessions
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.test_contexts import CLIENT, SERVER, common, shake, store


class Session:
    time, timeout = 1000, 7200

    def __init__(self, has_ticket: bool = True) -> None:
        self.has_ticket = has_ticket


ONE, TWO = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def made(**said: bool) -> Any:
    return Session(**said)


def test_the_newest_is_offered_again_and_to_its_host_alone() -> None:
    sessions = Sessions()
    old, new = made(), made()
    for one in (old, new):
        sessions.keep("a", ONE, one, 1e9)
    assert len(sessions) == 1
    assert sessions.of("b", ONE, 1001) is None
    assert [sessions.of("a", ONE, 1001) for _ in range(3)] == [new] * 3


def test_none_outlives_its_context_its_chain_or_its_ticket() -> None:
    sessions, one = Sessions(), made()
    sessions.keep("a", ONE, one, 1e9)
    assert sessions.of("a", TWO, 1001) is None
    assert sessions.of("a", ONE, 1001) is None, "who saw another context is not offered the old one's"
    sessions.keep("a", ONE, one, 1500)
    assert sessions.of("a", ONE, 1500) is None
    sessions.keep("a", ONE, one, 1e9)
    assert sessions.of("a", ONE, 8200) is None


def test_a_host_without_tickets_is_asked_once_with_a_context() -> None:
    sessions = Sessions()
    assert sessions.wants("a", ONE)
    sessions.keep("a", ONE, made(has_ticket=False), 1e9)
    assert sessions.of("a", ONE, 1001) is None
    assert len(sessions) == 0
    assert not sessions.wants("a", ONE)
    assert sessions.wants("b", ONE)
    assert sessions.wants("a", TWO)


def test_sessions_are_not_read_for_ever() -> None:
    """Each reading costs memory for good."""
    sessions = Sessions()
    assert sum(sessions.wants(number % 3, ONE) for number in range(1000)) == READS


def test_many_hosts_do_not_add_up() -> None:
    sessions = Sessions()
    for number in range(1000):
        sessions.keep(number, ONE, made(), 1e9)
        assert len(sessions) <= 64


def test_configuration(mesh_ca: MeshCa) -> None:
    secrets = store(mesh_ca, CLIENT)
    none = upstream_context(
        UpstreamTlsContext(common_tls_context=common(["istio"]), max_session_keys=0), secrets
    )
    assert none.sessions is None
    theirs = store(mesh_ca, SERVER)
    for resumes in (True, False):
        wanted = DownstreamTlsContext(
            common_tls_context=common(["istio"]), disable_stateless_session_resumption=not resumes
        )
        client, server = shake(none.current(), downstream_context(wanted, theirs).current())
        server.write(b"x")
        client.read(1)
        assert client.session is not None
        assert client.session.has_ticket is resumes


class Ended:
    """A connection that is over; to read its session costs memory for good."""

    def __init__(self, context: ssl.SSLContext, *, reused: bool) -> None:
        self.context, self.session_reused, self.reads = context, reused, 0

    @property
    def session(self) -> Any:
        self.reads += 1
        return made()


def test_only_the_session_of_a_full_handshake_is_read(mesh_ca: MeshCa) -> None:
    tls = upstream_context(UpstreamTlsContext(common_tls_context=common(["istio"])), store(mesh_ca, CLIENT))
    full, resumed, foreign = (
        Ended(tls.current(), reused=False),
        Ended(tls.current(), reused=True),
        Ended(ONE, reused=False),
    )
    for ended in (resumed, foreign, full):
        tls.keep_session("a", ended, 1e9)  # type: ignore[arg-type]
    assert (full.reads, resumed.reads, foreign.reads) == (1, 0, 0)
    assert tls.sessions is not None
    assert len(tls.sessions) == 1
