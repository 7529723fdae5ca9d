"""What each command operator of an access log format prints: an object for each operator, which finds its value in an ended request.

Decides meaning and availability of every operator; `access_log_format` puts those of one format together. Those of Istio's
and Envoy's own lines are classes, since a line has some 25 values and compiled code calls a method of a class it knows
directly; the rest are functions.
Reference: Envoy "Access logging", command operators.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from proxy.observability import response_flags
from proxy.observability.log_times import DEFAULT_TIME, local_time_as, time_as
from proxy.observability.stream_info import Headers, StreamInfo

Value = str | int | None
"""None: it was never learned."""


class FormatError(ValueError):
    """The format cannot be compiled; the text quotes the operator."""


class Part:
    """What a line is made of."""

    def value(self, info: StreamInfo) -> object:
        """What it is for this request."""
        raise NotImplementedError


class Operator(Part):
    """`%NAME%`."""

    def value(self, info: StreamInfo) -> Value:
        raise NotImplementedError


def operator(name: str, argument: str | None, length: int | None) -> Operator:
    """`%NAME(argument):length%`. Raises `FormatError` for what is not implemented."""
    if name in _PLAIN:
        if argument is not None:
            raise FormatError(f"%{name}% takes no argument")
        found = _PLAIN[name]
    elif name in _WITH_ARGUMENT:
        found = _WITH_ARGUMENT[name](argument)
    else:
        raise FormatError(f"command operator %{name}% is not supported")
    return Cut(found, length) if length else found


class Computed(Operator):
    """What a function makes of the request."""

    def __init__(self, compute: Callable[[StreamInfo], Value]) -> None:
        self._compute = compute

    def value(self, info: StreamInfo) -> Value:
        return self._compute(info)


class Either(Operator):
    """`%NAME(MAIN?OTHER)%`."""

    def __init__(self, main: Operator, other: Operator) -> None:
        self._main, self._other = main, other

    def value(self, info: StreamInfo) -> Value:
        found = self._main.value(info)
        return self._other.value(info) if found is None else found


class Cut(Operator):
    """`%NAME%:LENGTH`."""

    def __init__(self, whole: Operator, length: int) -> None:
        self._whole, self._length = whole, length

    def value(self, info: StreamInfo) -> Value:
        found = self._whole.value(info)
        return found[: self._length] if isinstance(found, str) else found


# Of Istio's and Envoy's own lines, in their order. A text that is empty was never learned.


class StartTime(Operator):
    def value(self, info: StreamInfo) -> Value:
        return DEFAULT_TIME.of(info.start_time)


class Method(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.method.decode("utf-8", "surrogateescape") or None


class OriginalPath(Operator):
    """As it was before this proxy, or one before it, rewrote it."""

    def value(self, info: StreamInfo) -> Value:
        path = info.original_path
        return path.decode("utf-8", "surrogateescape") if path else None


class Path(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.path.decode("utf-8", "surrogateescape") or None


class Protocol(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.protocol or None


class ResponseCode(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.response_code


class ResponseFlags(Operator):
    def value(self, info: StreamInfo) -> Value:
        return response_flags.text(info.response_flags) if info.response_flags else "-"


class ResponseCodeDetails(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.response_code_details or None


class TerminationDetails(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.connection_termination_details or None


class TransportFailure(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.upstream_transport_failure_reason or None


class BytesReceived(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.bytes_received


class BytesSent(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.bytes_sent


class Duration(Operator):
    """In ms."""

    def value(self, info: StreamInfo) -> Value:
        return int((info.end - info.start) * 1000)


class ServiceTime(Operator):
    """`x-envoy-upstream-service-time`, ms: as it was measured here."""

    def value(self, info: StreamInfo) -> Value:
        took = info.upstream_service_time_ms
        return None if took is None else str(took)


class ResponseHeader(Operator):
    """The first of its name."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def value(self, info: StreamInfo) -> Value:
        return _first(info.response_headers, self._name)


class RequestHeader(Operator):
    """The first of its name."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def value(self, info: StreamInfo) -> Value:
        return _first(info.request_headers, self._name)


class Authority(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.authority.decode("utf-8", "surrogateescape") or None


class UpstreamHost(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.upstream_host or None


class UpstreamCluster(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.upstream_cluster or None


class UpstreamLocalAddress(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.upstream_local_address or None


class LocalAddress(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.downstream_local_address or None


class RemoteAddress(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.downstream_remote_address or None


class RequestedServerName(Operator):
    """The client's word, in a form that can begin no line of its own, in a log or among headers."""

    def value(self, info: StreamInfo) -> Value:
        told = info.requested_server_name
        if told is None:
            return None
        clean = _NO_HOST_NAME.sub("_", told)
        return clean if clean == told else "invalid:" + clean


class RouteName(Operator):
    def value(self, info: StreamInfo) -> Value:
        return info.route_name or None


# Operators with an argument.

_LOCAL: Final = "%Y-%m-%dT%H:%M:%S.%3f%z"


def _request_header(name: str) -> Operator:
    key = name.lower().encode()
    found = _NO_HEADERS.get(key)
    return RequestHeader(key) if found is None else found


_NO_HEADERS: dict[bytes, Operator] = {
    b":method": Method(),
    b":path": Path(),
    b":authority": Authority(),
    b"host": Authority(),
    b"x-envoy-original-path": OriginalPath(),
}


def _response_header(name: str) -> Operator:
    key = name.lower().encode()
    if key == b":status":
        return Computed(lambda info: str(info.response_code) if info.response_code else None)
    if key == b"x-envoy-upstream-service-time":
        return Either(ServiceTime(), ResponseHeader(key))
    return ResponseHeader(key)


def _header(of: Callable[[str], Operator]) -> Callable[[str | None], Operator]:
    def build(argument: str | None) -> Operator:
        names = (argument or "").split("?")
        if not all(names) or len(names) > 2:
            raise FormatError(f"want a header name, or two as MAIN?OTHER, not {argument!r}")
        return of(names[0]) if len(names) == 1 else Either(of(names[0]), of(names[1]))

    return build


def _start_time(argument: str | None) -> Operator:
    if not argument:
        return StartTime()
    text = argument
    return Computed(lambda info: time_as(info.start_time, text))


def _start_time_local(argument: str | None) -> Operator:
    text = argument or _LOCAL
    return Computed(lambda info: local_time_as(info.start_time, text))


def _emit_time(argument: str | None) -> Operator:
    if not argument:
        return Computed(lambda _: DEFAULT_TIME.of(time.time()))
    text = argument
    return Computed(lambda _: time_as(time.time(), text))


_PATHS: dict[str, Callable[[StreamInfo], bytes | None]] = {
    "ORIG": lambda info: info.original_path,
    "PATH": lambda info: info.path,
    "ORIG_OR_PATH": lambda info: info.original_path or info.path,
}


def _path(argument: str | None) -> Operator:
    query, _, which = (argument or "WQ").partition(":")
    path = _PATHS.get(which or "ORIG_OR_PATH")
    if query not in ("WQ", "NQ") or path is None:
        raise FormatError(f"want WQ or NQ, and of which path, not {argument!r}")
    find, whole = path, query == "WQ"

    def shown(info: StreamInfo) -> Value:
        found = find(info)
        if not found:
            return None
        return _decoded(found) if whole else _decoded(found).partition("?")[0]

    return Computed(shown)


def _query_parameter(argument: str | None) -> Operator:
    if not argument:
        raise FormatError("%QUERY_PARAM% wants a name")
    name = argument
    return Computed(lambda info: _query_parameter_of(info.path, name))


def _environment(argument: str | None) -> Operator:
    if not argument:
        raise FormatError("%ENVIRONMENT% wants a name")
    value = os.environ.get(argument, "-")  # Envoy's dash is there in headers, too
    return Computed(lambda _: value)


_WITH_ARGUMENT: dict[str, Callable[[str | None], Operator]] = {
    "REQ": _header(_request_header),
    "RESP": _header(_response_header),
    "START_TIME": _start_time,
    "START_TIME_LOCAL": _start_time_local,
    "EMIT_TIME": _emit_time,
    "PATH": _path,
    "QUERY_PARAM": _query_parameter,
    "ENVIRONMENT": _environment,
}

# Operators without.


def _host(address: str | None) -> str | None:
    return address.rpartition(":")[0].strip("[]") if address else None


def _port(address: str | None) -> str | None:
    return address.rpartition(":")[2] if address else None


def _direct(info: StreamInfo) -> str | None:
    return info.downstream_direct_address or info.downstream_remote_address or None


_NEVER = Computed(lambda _: None)
"""What Envoy learns from tracing, fingerprints of TLS, QUIC and the like, which are not here."""

_HOSTNAME: Final = socket.gethostname()

_PLAIN: dict[str, Operator] = {
    "PROTOCOL": Protocol(),
    "RESPONSE_CODE": ResponseCode(),
    "RESPONSE_FLAGS": ResponseFlags(),
    "RESPONSE_FLAGS_LONG": Computed(lambda info: response_flags.long_text(info.response_flags)),
    "RESPONSE_CODE_DETAILS": ResponseCodeDetails(),
    "CONNECTION_TERMINATION_DETAILS": TerminationDetails(),
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": Computed(lambda info: info.downstream_transport_failure_reason),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": TransportFailure(),
    "BYTES_RECEIVED": BytesReceived(),
    "BYTES_SENT": BytesSent(),
    "DOWNSTREAM_WIRE_BYTES_RECEIVED": Computed(lambda info: info.wire_bytes_received),
    "DOWNSTREAM_WIRE_BYTES_SENT": Computed(lambda info: info.wire_bytes_sent),
    "DURATION": Duration(),
    "GRPC_STATUS_NUMBER": Computed(lambda info: info.grpc_status),
    "GRPC_STATUS": Computed(lambda info: _grpc_name(info.grpc_status)),
    "HOSTNAME": Computed(lambda _: _HOSTNAME),
    "ROUTE_NAME": RouteName(),
    "REQUESTED_SERVER_NAME": RequestedServerName(),
    "UPSTREAM_HOST": UpstreamHost(),
    "UPSTREAM_REMOTE_ADDRESS": UpstreamHost(),
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": Computed(lambda info: _host(info.upstream_host)),
    "UPSTREAM_CLUSTER": UpstreamCluster(),
    "UPSTREAM_CLUSTER_RAW": UpstreamCluster(),
    "UPSTREAM_LOCAL_ADDRESS": UpstreamLocalAddress(),
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": Computed(lambda info: _host(info.upstream_local_address)),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": Computed(lambda info: info.upstream_attempts),
    "UPSTREAM_PEER_URI_SAN": Computed(lambda info: info.upstream_peer_uri_san or None),
    "DOWNSTREAM_PEER_URI_SAN": Computed(lambda info: info.downstream_peer_uri_san or None),
    "DOWNSTREAM_LOCAL_URI_SAN": Computed(lambda info: info.downstream_local_uri_san or None),
    "DOWNSTREAM_LOCAL_ADDRESS": LocalAddress(),
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": Computed(lambda info: _host(info.downstream_local_address)),
    "DOWNSTREAM_LOCAL_PORT": Computed(lambda info: _port(info.downstream_local_address)),
    "DOWNSTREAM_REMOTE_ADDRESS": RemoteAddress(),
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": Computed(lambda info: _host(info.downstream_remote_address)),
    "DOWNSTREAM_REMOTE_PORT": Computed(lambda info: _port(info.downstream_remote_address)),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": Computed(_direct),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": Computed(lambda info: _host(_direct(info))),
    "DOWNSTREAM_DIRECT_REMOTE_PORT": Computed(lambda info: _port(_direct(info))),
    "UPSTREAM_LOCAL_PORT": Computed(lambda info: _port(info.upstream_local_address)),
    "UPSTREAM_REMOTE_PORT": Computed(lambda info: _port(info.upstream_host)),
    "UPSTREAM_PROTOCOL": Computed(lambda info: "HTTP/1.1" if info.upstream_local_address and info.protocol else None),
    "QUERY_PARAMS": Computed(lambda info: _decoded(info.path).partition("?")[2] if info.path else None),
    "STREAM_ID": RequestHeader(b"x-request-id"),
    **dict.fromkeys((
        "CUSTOM_FLAGS", "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", "ROUNDTRIP_DURATION", "SPAN_ID", "TLS_JA3_FINGERPRINT",
        "TLS_JA4_FINGERPRINT", "TRACE_ID", "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "VIRTUAL_CLUSTER_NAME",
    ), _NEVER),
}  # fmt: skip

# What they are made with.


def _decoded(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _first(headers: Headers | None, wanted: bytes) -> str | None:
    if headers is not None:
        for name, value in headers:
            if name == wanted:
                return value.decode("utf-8", "surrogateescape")
    return None


def _query_parameter_of(path: bytes, name: str) -> str | None:
    """The first of this name, with `%XX` resolved, as Envoy."""
    pairs = (pair.partition("=") for pair in _decoded(path).partition("?")[2].split("&"))
    found = next((value for key, _, value in pairs if unquote(key, errors="surrogateescape") == name), None)
    return unquote(found, errors="surrogateescape") if found else None


_NO_HOST_NAME = re.compile(r"[^A-Za-z0-9._-]")


_GRPC_NAMES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip


def _grpc_name(status: int | None) -> Value:
    return _GRPC_NAMES[status] if status is not None and 0 <= status < len(_GRPC_NAMES) else status
