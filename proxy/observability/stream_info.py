"""What is known about one request, or one TCP connection: the single source for access log and metrics.

The data path writes these fields as it learns them and hands the object over once, at the end of the stream.
It knows nothing of log formats or metric labels. Fields mirror Envoy's StreamInfo; a value never learned
keeps its default and is logged as `-`.
"""

from __future__ import annotations

from proxy.observability.workload import Upstream, Workload

Headers = list[tuple[bytes, bytes]]


class StreamInfo:
    """Times are seconds: `start_time` of the wall clock, the others of one monotonic clock.

    Header lists hold lower-cased names. `bytes_received` and `bytes_sent` count body bytes;
    `wire_bytes_*` count heads too (Istio's request and response size metrics). For opaque TCP `method` is empty.
    """

    __slots__ = (
        "authority",
        "bytes_received",
        "bytes_sent",
        "connection_termination_details",
        "downstream_direct_address",
        "downstream_local_address",
        "downstream_local_uri_san",
        "downstream_peer_uri_san",
        "downstream_remote_address",
        "downstream_transport_failure_reason",
        "end",
        "grpc_status",
        "method",
        "original_path",
        "path",
        "peer_metadata",
        "protocol",
        "request_headers",
        "requested_server_name",
        "response_code",
        "response_code_details",
        "response_flags",
        "response_headers",
        "route_name",
        "start",
        "start_time",
        "upstream_attempts",
        "upstream_cluster",
        "upstream_host",
        "upstream_local_address",
        "upstream_metadata",
        "upstream_peer_uri_san",
        "upstream_service_time_ms",
        "upstream_transport_failure_reason",
        "wire_bytes_received",
        "wire_bytes_sent",
    )  # fmt: skip

    def __init__(self) -> None:
        self.start_time: float = 0.0
        self.start: float = 0.0
        self.end: float = 0.0
        self.method: bytes = b""
        self.path: bytes = b""
        self.authority: bytes = b""
        self.protocol: str | None = None  # "HTTP/1.1"; None for TCP
        self.request_headers: Headers | None = None
        self.original_path: bytes | None = None
        self.response_code: int = 0  # 0: the client vanished before any response
        self.response_headers: Headers | None = None
        self.response_flags: int = 0  # bits of response_flags
        self.response_code_details: str | None = None  # "via_upstream", "route_not_found", ...
        self.connection_termination_details: str | None = None
        self.downstream_transport_failure_reason: str | None = None
        self.upstream_transport_failure_reason: str | None = None
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.wire_bytes_received: int = 0
        self.wire_bytes_sent: int = 0
        self.upstream_service_time_ms: int | None = None
        self.upstream_host: str | None = None  # "10.0.0.7:9080"
        self.upstream_cluster: str | None = None
        self.upstream_local_address: str | None = None
        self.upstream_attempts: int = 0
        self.upstream_metadata: Upstream | None = None  # the cluster's and endpoint's istio metadata
        self.upstream_peer_uri_san: str | None = None
        self.downstream_local_address: str | None = None
        self.downstream_remote_address: str | None = None
        self.downstream_direct_address: str | None = None  # the peer's own, if x-forwarded-for names another
        self.downstream_peer_uri_san: str | None = None
        self.downstream_local_uri_san: str | None = None
        self.requested_server_name: str | None = None
        self.route_name: str | None = None
        self.peer_metadata: Workload | None = None  # the other side's workload, by metadata exchange
        self.grpc_status: int | None = None

    def __repr__(self) -> str:
        method = self.method.decode("latin-1") or "tcp"
        return f"<StreamInfo {method} {self.authority!r}{self.path!r} {self.response_code}>"
