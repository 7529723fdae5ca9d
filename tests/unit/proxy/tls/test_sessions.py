"""Which sessions are kept and offered, and what ends them."""

from __future__ import annotations

import ssl
from typing import Any

from proxy.config.secret import DownstreamTlsContext, UpstreamTlsContext
from proxy.tls.contexts import downstream_context, upstream_context
from proxy.tls.sessions import Sessions
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.test_contexts import CLIENT, SERVER, common, shake, store


class Session:
    time, timeout = 1000, 7200


ONE, TWO = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def made(count: int) -> list[Any]:
    return [Session() for _ in range(count)]


def test_each_is_offered_once_newest_first_and_to_its_host_alone() -> None:
    sessions = Sessions(2)
    old, middle, new = made(3)
    for one in (old, middle, new):
        sessions.keep("a", ONE, one, 1e9)
    assert len(sessions) == 2
    assert sessions.take("b", ONE, 1001) is None
    assert [sessions.take("a", ONE, 1001) for _ in range(3)] == [new, middle, None]
    assert len(sessions) == 0


def test_none_outlives_its_context_its_chain_or_its_ticket() -> None:
    sessions = Sessions()
    (one,) = made(1)
    sessions.keep("a", ONE, one, 1e9)
    assert sessions.take("a", TWO, 1001) is None
    assert sessions.take("a", ONE, 1001) is None, "who saw another context is not offered the old one's"
    sessions.keep("a", ONE, one, 1500)
    assert sessions.take("a", ONE, 1500) is None
    sessions.keep("a", ONE, one, 1e9)
    assert sessions.take("a", ONE, 8200) is None


def test_many_hosts_do_not_add_up() -> None:
    sessions = Sessions()
    for number in range(1000):
        sessions.keep(number, ONE, made(1)[0], 1e9)
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
