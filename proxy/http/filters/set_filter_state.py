"""`envoy.filters.http.set_filter_state`: of what it can set, the one object that matters here, the upstream ALPN.

Vanilla Envoy has no `istio.alpn`; the same effect comes from the object `envoy.network.application_protocols`.
Reference: envoy.extensions.filters.http.set_filter_state.v3.Config.
"""

from __future__ import annotations

from typing import ClassVar

from proxy.http.filter_chain import HttpFilter
from proxy.http.stream import Stream

ALPN_OBJECT = "envoy.network.application_protocols"


class SetFilterState(HttpFilter):
    """`alpn` is the comma-separated value of ALPN_OBJECT."""

    name: ClassVar[str] = "envoy.filters.http.set_filter_state"

    def __init__(self, alpn: str) -> None:
        self._alpn = tuple(protocol.strip() for protocol in alpn.split(","))

    def on_request_headers(self, stream: Stream) -> None:
        stream.alpn_override = self._alpn
