"""Which sessions are kept and offered, and what ends them."""

from __future__ import annotations

from typing import Any

from proxy.config.secret import DownstreamTlsContext, UpstreamTlsContext
from proxy.tls.contexts import downstream_context, upstream_context
from proxy.tls.peer import PeerIdentity
from proxy.tls.sessions import Sessions
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.engines import opened, sealed, shake
from tests.unit.proxy.tls.test_contexts import CLIENT, SERVER, common, store

ONE, TWO = SslContext(server=False), SslContext(server=False)


def made() -> Any:
    return object()


def test_the_newest_is_offered_again_and_to_its_host_alone() -> None:
    sessions = Sessions()
    old, new = made(), made()
    for one in (old, new):
        sessions.keep("a", ONE, one, 1e9)
    assert len(sessions) == 1
    assert sessions.of("b", ONE, 1001) is None
    assert [sessions.of("a", ONE, 1001) for _ in range(3)] == [new] * 3


def test_none_outlives_its_context_or_its_chain() -> None:
    sessions, one = Sessions(), made()
    sessions.keep("a", ONE, one, 1e9)
    assert sessions.of("a", TWO, 1001) is None
    assert sessions.of("a", ONE, 1001) is None, "who saw another context is not offered the old one's"
    sessions.keep("a", ONE, one, 1500)
    assert sessions.of("a", ONE, 1499) is one
    assert sessions.of("a", ONE, 1500) is None


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
        contexts = none.current(), downstream_context(wanted, theirs).current()
        client, server = shake(*contexts)
        assert opened(client, sealed(server, b"x")) == b"x"
        client.close_notify()
        again, _ = shake(*contexts, session=client.session)
        assert again.session_reused is resumes


class Ended:
    """A connection that is over."""

    session = made()
    peer = PeerIdentity((), (), "", "", expires=1e9)

    def __init__(self, context: SslContext, *, reused: bool) -> None:
        self.context, self.session_reused = context, reused


def test_only_the_session_of_a_full_handshake_is_kept(mesh_ca: MeshCa) -> None:
    tls = upstream_context(UpstreamTlsContext(common_tls_context=common(["istio"])), store(mesh_ca, CLIENT))
    assert tls.sessions is not None
    for ended, kept in (
        (Ended(tls.current(), reused=True), 0),
        (Ended(ONE, reused=False), 0),
        (Ended(tls.current(), reused=False), 1),
    ):
        tls.keep_session("a", ended)  # type: ignore[arg-type]
        assert len(tls.sessions) == kept
