"""`istio.alpn`: which ALPN the client sidecar offers, so that the server sidecar knows what the bytes will be.

By the protocol of the downstream request: `istio-http/1.1, istio, http/1.1` and so on.
Reference: Istio proxy source/extensions/filters/http/alpn; reference §3.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from proxy.http.filter_chain import HttpFilter
from proxy.http.stream import Stream

_UPSTREAM_PROTOCOLS = {"HTTP10": "HTTP/1.0", "HTTP11": "HTTP/1.1", "HTTP2": "HTTP/2"}


class IstioAlpn(HttpFilter):
    """`overrides` maps a protocol of StreamInfo to the ALPN list to offer."""

    name: ClassVar[str] = "istio.alpn"

    def __init__(self, overrides: Mapping[str, tuple[str, ...]]) -> None:
        self._overrides = {_UPSTREAM_PROTOCOLS[key]: alpn for key, alpn in overrides.items()}

    def on_request_headers(self, stream: Stream) -> None:
        stream.alpn_override = self._overrides.get(stream.info.protocol or "")
