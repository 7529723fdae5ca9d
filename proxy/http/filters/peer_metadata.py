"""Istio's metadata exchange over HTTP headers: each side tells the other its workload, and neither app sees it.

Outbound: the request carries `x-envoy-peer-metadata-id` and `x-envoy-peer-metadata` (base64 of a protobuf Struct); the
response's are read and removed. Inbound: the other way round, and the response carries ours only if the request brought
some. Our own values are made once; a peer's are decoded once and remembered.
Reference: Istio proxy source/extensions/filters/http/peer_metadata; reference §8.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from proxy.config.http_filters import PeerMetadata as PeerMetadataConfig
from proxy.http.filter_chain import Headers, HttpFilter
from proxy.http.stream import Stream
from proxy.observability.workload import Workload

_ID = b"x-envoy-peer-metadata-id"
_METADATA = b"x-envoy-peer-metadata"
_BOTH = frozenset({_ID, _METADATA})
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class PeerMetadataParts:
    """This proxy's own header values, and how to read a peer's (None: not readable)."""

    node_id: bytes
    metadata: bytes
    decode: Callable[[bytes], Workload | None]


class PeerMetadata(HttpFilter):
    """Discovery and propagation as configured, by direction."""

    name: ClassVar[str] = "istio.peer_metadata"

    def __init__(self, config: PeerMetadataConfig, parts: PeerMetadataParts, *, inbound: bool) -> None:
        self._inbound = inbound
        self._parts = parts
        self._pairs = [(_ID, parts.node_id), (_METADATA, parts.metadata)]
        self._reads_request = _has_headers(config.downstream_discovery)
        self._reads_response = _has_headers(config.upstream_discovery)
        self._adds_request = _has_headers(config.upstream_propagation)
        self._adds_response = _has_headers(config.downstream_propagation)
        self._peers: dict[bytes, Workload | None] = {}

    def on_request_headers(self, stream: Stream) -> None:
        fields = stream.body.fields
        if self._reads_request and _METADATA in fields:
            stream.info.peer_metadata = self._peer(fields[_METADATA])
            if stream.filter_state is None:
                stream.filter_state = {}
            stream.filter_state[self.name] = True
        if self._reads_request and (_METADATA in fields or _ID in fields):
            stream.headers[:] = [pair for pair in stream.headers if pair[0] not in _BOTH]
        if self._adds_request:
            stream.headers += self._pairs

    def on_response_headers(self, stream: Stream, status: int, headers: Headers) -> None:
        if self._reads_response:
            found = stream.response_fields
            if _METADATA in found:
                stream.info.peer_metadata = self._peer(found[_METADATA])
            if not _BOTH.isdisjoint(found):
                headers[:] = [pair for pair in headers if pair[0] not in _BOTH]
        if self._adds_response and stream.filter_state is not None and self.name in stream.filter_state:
            headers += self._pairs

    def _peer(self, value: bytes) -> Workload | None:
        if value in self._peers:
            return self._peers[value]
        if len(self._peers) >= _REMEMBERED:
            self._peers.clear()
        found = self._peers[value] = self._parts.decode(value)
        return found


def _has_headers(methods: list[dict[str, object]]) -> bool:
    return any("istio_headers" in method for method in methods)
