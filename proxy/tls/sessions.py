"""TLS sessions that a cluster's connections left, so that the next ones need no full handshake.

As in Envoy a session is offered once, and only as many are kept as `max_session_keys` says; unlike there they are kept for each
host, since one host's ticket is nothing to another. Decides when a session may be offered at all: only with the `ssl.SSLContext`
it was made with, so that a rotated certificate or root ends it, and not beyond the life of the chain that was verified then.
Knows no sockets and asks nobody for the time.
Reference: RFC 8446 §2.2, C.4; Envoy source/common/tls/client_context_impl.cc.
"""

from __future__ import annotations

import ssl
from collections.abc import Hashable
from dataclasses import dataclass

PER_HOST = 4
"""Where `max_session_keys` is unset. Envoy keeps one, which connections that are opened together take from each other."""
_MOST = 64  # of a cluster; some KB each


@dataclass(frozen=True, slots=True)
class _Kept:
    session: ssl.SSLSession
    context: ssl.SSLContext
    until: float  # wall clock, s


class Sessions:
    """The sessions of one transport socket; `limit` for each host. `host` is whatever tells apart whom a connection is for."""

    __slots__ = ("_by_host", "_count", "_limit")

    def __init__(self, limit: int = PER_HOST) -> None:
        self._limit = min(limit, _MOST)
        self._by_host: dict[Hashable, list[_Kept]] = {}
        self._count = 0

    def keep(self, host: Hashable, context: ssl.SSLContext, session: ssl.SSLSession, until: float) -> None:
        """Remember the session of a verified connection, made with `context`; its chain was good `until` (wall clock, s)."""
        found = self._by_host.get(host)
        if found is not None and len(found) >= self._limit:
            del found[0]
            self._count -= 1
        elif self._count >= _MOST:
            self._by_host.clear()
            self._count = 0
            found = None
        if found is None:
            found = self._by_host[host] = []
        found.append(_Kept(session, context, min(until, session.time + session.timeout)))
        self._count += 1

    def take(self, host: Hashable, context: ssl.SSLContext, now: float) -> ssl.SSLSession | None:
        """The newest session for a connection with `context`, which nobody else gets; None if there is none."""
        found = self._by_host.get(host)
        while found:
            kept = found.pop()
            self._count -= 1
            if kept.context is context and now < kept.until:
                return kept.session
        self._by_host.pop(host, None)
        return None

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<Sessions {self._count} of {len(self._by_host)} hosts>"
