"""TLS sessions that a cluster's connections left, so that the next ones need no full handshake.

Unlike in Envoy a session is kept for each host, since one host's ticket is nothing to another, and is offered again until its ticket
ends or the host refuses it: who connects many times at once would else have a ticket for the first alone.
Decides when a session may be offered at all: only with the `SslContext` it was made with, so that a rotated certificate
or root ends it, and not beyond the life of the chain that was verified then. Knows no sockets and asks nobody for the time.
Reference: RFC 8446 §2.2, C.4; Envoy source/common/tls/client_context_impl.cc.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from proxy.tls.engine import Session
from proxy.tls.ssl_context import SslContext

_MOST = 64  # hosts of a cluster; some KB each


@dataclass(frozen=True, slots=True)
class _Kept:
    session: Session
    context: SslContext
    until: float  # wall clock, s


class Sessions:
    """The sessions of one transport socket. `host` is whatever tells apart whom a connection is for."""

    __slots__ = ("_by_host",)

    def __init__(self) -> None:
        self._by_host: dict[Hashable, _Kept] = {}

    def keep(self, host: Hashable, context: SslContext, session: Session, until: float) -> None:
        """Remember the session of a verified connection, made with `context`; its chain was good `until` (wall clock, s)."""
        if len(self._by_host) >= _MOST:
            self._by_host.clear()
        self._by_host[host] = _Kept(session, context, until)

    def of(self, host: Hashable, context: SslContext, now: float) -> Session | None:
        """The session for a connection with `context`; None if there is none. OpenSSL looks at its ticket's own end."""
        kept = self._by_host.get(host)
        if kept is None:
            return None
        if kept.context is context and now < kept.until:
            return kept.session
        del self._by_host[host]
        return None

    def __len__(self) -> int:
        return len(self._by_host)

    def __repr__(self) -> str:
        return f"<Sessions {len(self)}>"
