"""TLS sessions that a cluster's connections left, so that the next ones need no full handshake.

Unlike in Envoy a session is kept for each host, since one host's ticket is nothing to another, and is offered again until its ticket
ends or the host refuses it: CPython's `SSLSocket.session` leaves a copy behind that nobody can free (5 KiB, in 3.11 to 3.13), so
it is read as seldom as can be, and not more than READS times for a cluster; then handshakes are full ones again.
Decides when a session may be offered at all: only with the `ssl.SSLContext` it was made with, so that a rotated certificate
or root ends it, and not beyond the life of the chain that was verified then. Knows no sockets and asks nobody for the time.
Reference: RFC 8446 §2.2, C.4; Envoy source/common/tls/client_context_impl.cc.
"""

from __future__ import annotations

import ssl
from collections.abc import Hashable
from dataclasses import dataclass

READS = 64
_MOST = 64  # hosts of a cluster; some KB each


@dataclass(frozen=True, slots=True)
class _Kept:
    session: ssl.SSLSession | None  # None: the host gives no tickets
    context: ssl.SSLContext
    until: float  # wall clock, s


class Sessions:
    """The sessions of one transport socket. `host` is whatever tells apart whom a connection is for."""

    __slots__ = ("_by_host", "_reads")

    def __init__(self) -> None:
        self._by_host: dict[Hashable, _Kept] = {}
        self._reads = 0

    def wants(self, host: Hashable, context: ssl.SSLContext) -> bool:
        """Whether the session of a connection that resumed none is worth to be read. Counts that it is."""
        kept = self._by_host.get(host)
        if self._reads >= READS or (kept is not None and kept.session is None and kept.context is context):
            return False
        self._reads += 1
        return True

    def keep(self, host: Hashable, context: ssl.SSLContext, session: ssl.SSLSession, until: float) -> None:
        """Remember the session of a verified connection, made with `context`; its chain was good `until` (wall clock, s)."""
        if len(self._by_host) >= _MOST:
            self._by_host.clear()
        good = min(until, session.time + session.timeout)
        self._by_host[host] = _Kept(session if session.has_ticket else None, context, good)

    def of(self, host: Hashable, context: ssl.SSLContext, now: float) -> ssl.SSLSession | None:
        """The session for a connection with `context`; None if there is none."""
        kept = self._by_host.get(host)
        if kept is None or kept.session is None:
            return None
        if kept.context is context and now < kept.until:
            return kept.session
        del self._by_host[host]
        return None

    def __len__(self) -> int:
        return sum(kept.session is not None for kept in self._by_host.values())

    def __repr__(self) -> str:
        return f"<Sessions {len(self)} reads={self._reads}>"
