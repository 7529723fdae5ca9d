"""What each command operator of an access log format prints, as a Python expression over the ended request.

Decides meaning and availability of every operator; `access_log_format` puts the expressions of one format together into
one function. An expression may use `info` (the `StreamInfo`), `request` (its request headers by name) and `NAMES`.
Invariant: what a configuration says enters an expression as a literal (`repr`) only.
Reference: Envoy "Access logging", command operators.
"""

from __future__ import annotations

import functools
import os
import re
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from proxy.observability import response_flags
from proxy.observability.stream_info import Headers


class FormatError(ValueError):
    """The format cannot be compiled; the text quotes the operator."""


@dataclass(frozen=True, slots=True)
class Operator:
    """`found` is None at run time for what was never learned; otherwise `shown`, which calls it `v`, is printed.

    Without `found`, `shown` stands alone and is always there. Without `shown`, `found` is a text, which is printed unless empty.
    """

    found: str | None
    shown: str | None = "v"

    def expression(self, missing: str | None) -> str:
        """Python source of the value, `missing` for what was never learned."""
        if self.shown is None:
            return f"({self.found} or {missing!r})"
        if self.found is None:
            return self.shown
        return f"({missing!r} if (v := {self.found}) is None else {self.shown})"


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
    return Operator(f"cut({found.expression(None)}, {length})") if length else found


# Operators with an argument.

_LOCAL = "%Y-%m-%dT%H:%M:%S.%3f%z"
_DECODED = "v.decode('utf-8', 'surrogateescape')"


def _request_header(name: str) -> Operator:
    key = name.lower().encode()
    if key in (b":method", b":path", b":authority", b"host"):
        attribute = "authority" if key == b"host" else name.lower()[1:]
        return Operator(f"info.{attribute}.decode('utf-8', 'surrogateescape')", None)
    if key == b"x-envoy-original-path":
        return Operator("info.original_path and info.original_path.decode('utf-8', 'surrogateescape')", None)
    return Operator(f"request.get({key!r})", _DECODED)


def _response_header(name: str) -> Operator:
    key = name.lower().encode()
    if key == b":status":
        return Operator("info.response_code or None", "str(v)")
    header = Operator(f"header(info.response_headers, {key!r})", _DECODED)
    if key == b"x-envoy-upstream-service-time":
        return _either(Operator("info.upstream_service_time_ms", "str(v)"), header)
    return header


def _either(main: Operator, other: Operator) -> Operator:
    if main.shown is None:
        return Operator(f"{main.found} or {other.expression(None)}", None)
    return Operator(f"({other.expression(None)} if (v := {main.expression(None)}) is None else v)")


def _header(of: Callable[[str], Operator]) -> Callable[[str | None], Operator]:
    def build(argument: str | None) -> Operator:
        names = (argument or "").split("?")
        if not all(names) or len(names) > 2:
            raise FormatError(f"want a header name, or two as MAIN?OTHER, not {argument!r}")
        return of(names[0]) if len(names) == 1 else _either(of(names[0]), of(names[1]))

    return build


def _start_time(argument: str | None) -> Operator:
    if not argument:
        return Operator(None, "start_time(info.start_time)")
    return Operator(None, f"time_as(info.start_time, {argument!r})")


def _start_time_local(argument: str | None) -> Operator:
    return Operator(None, f"local_time_as(info.start_time, {argument or _LOCAL!r})")


def _emit_time(argument: str | None) -> Operator:
    return Operator(None, f"time_as(now(), {argument!r})" if argument else "start_time(now())")


_PATHS = {
    "ORIG": "info.original_path or None",
    "PATH": "info.path or None",
    "ORIG_OR_PATH": "info.original_path or info.path or None",
}


def _path(argument: str | None) -> Operator:
    query, _, which = (argument or "WQ").partition(":")
    path = _PATHS.get(which or "ORIG_OR_PATH")
    if query not in ("WQ", "NQ") or path is None:
        raise FormatError(f"want WQ or NQ, and of which path, not {argument!r}")
    return Operator(path, _DECODED if query == "WQ" else f"{_DECODED}.partition('?')[0]")


def _query_parameter(argument: str | None) -> Operator:
    if not argument:
        raise FormatError("%QUERY_PARAM% wants a name")
    return Operator(f"query_parameter(info.path, {argument!r})")


def _environment(argument: str | None) -> Operator:
    if not argument:
        raise FormatError("%ENVIRONMENT% wants a name")
    return Operator(None, repr(os.environ.get(argument, "-")))  # Envoy's dash is there in headers, too


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


def _field(name: str, shown: str = "v") -> Operator:
    return Operator(f"info.{name}", shown)


def _text(name: str) -> Operator:
    return Operator(f"info.{name}", None)


def _number(name: str) -> Operator:
    return Operator(None, f"info.{name}")


_HOST, _PORT = "host(v)", "port(v)"
_DIRECT = "downstream_direct_address or info.downstream_remote_address or None"
_NEVER = Operator(
    "None"
)  # what Envoy learns from tracing, fingerprints of TLS, QUIC and the like, which are not here

_PLAIN: dict[str, Operator] = {
    "PROTOCOL": _text("protocol"),
    "RESPONSE_CODE": _number("response_code"),
    "RESPONSE_FLAGS": Operator(None, "(flags(info.response_flags) if info.response_flags else '-')"),
    "RESPONSE_FLAGS_LONG": Operator(None, "long_flags(info.response_flags)"),
    "RESPONSE_CODE_DETAILS": _text("response_code_details"),
    "CONNECTION_TERMINATION_DETAILS": _text("connection_termination_details"),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": _text("upstream_transport_failure_reason"),
    "BYTES_RECEIVED": _number("bytes_received"),
    "BYTES_SENT": _number("bytes_sent"),
    "DOWNSTREAM_WIRE_BYTES_RECEIVED": _number("wire_bytes_received"),
    "DOWNSTREAM_WIRE_BYTES_SENT": _number("wire_bytes_sent"),
    "DURATION": Operator(None, "int((info.end - info.start) * 1000)"),
    "GRPC_STATUS_NUMBER": _field("grpc_status"),
    "GRPC_STATUS": _field("grpc_status", "grpc_name(v)"),
    "HOSTNAME": Operator(None, "hostname"),
    "ROUTE_NAME": _text("route_name"),
    "REQUESTED_SERVER_NAME": _field("requested_server_name", "server_name(v)"),
    "UPSTREAM_HOST": _text("upstream_host"),
    "UPSTREAM_REMOTE_ADDRESS": _text("upstream_host"),
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": _field("upstream_host or None", _HOST),
    "UPSTREAM_CLUSTER": _text("upstream_cluster"),
    "UPSTREAM_CLUSTER_RAW": _text("upstream_cluster"),
    "UPSTREAM_LOCAL_ADDRESS": _text("upstream_local_address"),
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": _field("upstream_local_address or None", _HOST),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": _number("upstream_attempts"),
    "UPSTREAM_PEER_URI_SAN": _text("upstream_peer_uri_san"),
    "DOWNSTREAM_PEER_URI_SAN": _text("downstream_peer_uri_san"),
    "DOWNSTREAM_LOCAL_URI_SAN": _text("downstream_local_uri_san"),
    "DOWNSTREAM_LOCAL_ADDRESS": _text("downstream_local_address"),
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": _field("downstream_local_address or None", _HOST),
    "DOWNSTREAM_LOCAL_PORT": _field("downstream_local_address or None", _PORT),
    "DOWNSTREAM_REMOTE_ADDRESS": _text("downstream_remote_address"),
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": _field("downstream_remote_address or None", _HOST),
    "DOWNSTREAM_REMOTE_PORT": _field("downstream_remote_address or None", _PORT),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": _field(_DIRECT),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": _field(_DIRECT, _HOST),
    "DOWNSTREAM_DIRECT_REMOTE_PORT": _field(_DIRECT, _PORT),
    "UPSTREAM_LOCAL_PORT": _field("upstream_local_address or None", _PORT),
    "UPSTREAM_REMOTE_PORT": _field("upstream_host or None", _PORT),
    "UPSTREAM_PROTOCOL": _field("upstream_local_address and info.protocol and 'HTTP/1.1' or None"),
    "QUERY_PARAMS": _field("path or None", f"{_DECODED}.partition('?')[2]"),
    "STREAM_ID": Operator("request.get(b'x-request-id')", _DECODED),
    **dict.fromkeys((
        "CUSTOM_FLAGS", "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", "ROUNDTRIP_DURATION", "SPAN_ID", "TLS_JA3_FINGERPRINT",
        "TLS_JA4_FINGERPRINT", "TRACE_ID", "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "VIRTUAL_CLUSTER_NAME",
    ), _NEVER),
}  # fmt: skip

# What expressions call.


def by_name(headers: Headers | None) -> Mapping[bytes, bytes]:
    """The headers for look-up; of one that repeats, the first."""
    return dict(reversed(headers)) if headers else {}


def _first(headers: Headers | None, wanted: bytes) -> bytes | None:
    for name, value in headers or ():
        if name == wanted:
            return value
    return None


def _cut(value: str | int | None, length: int) -> str | int | None:
    return value[:length] if isinstance(value, str) else value


def _query_parameter_of(path: bytes, name: str) -> str | None:
    """The first of this name, with `%XX` resolved, as Envoy."""
    query = path.decode("utf-8", "surrogateescape").partition("?")[2]
    pairs = (pair.partition("=") for pair in query.split("&"))
    found = next((value for key, _, value in pairs if unquote(key, errors="surrogateescape") == name), None)
    return unquote(found, errors="surrogateescape") if found else None


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _port(address: str) -> str:
    return address.rpartition(":")[2]


_NO_HOST_NAME = re.compile(r"[^A-Za-z0-9._-]")


def _server_name(told: str) -> str:
    """The client's word, in a form that can begin no line of its own, in a log or among headers."""
    clean = _NO_HOST_NAME.sub("_", told)
    return clean if clean == told else "invalid:" + clean


# Requests of one second share the text up to the second; `_second` is that second in ms.
_second, _second_text = -1000, ""
_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))


def _default_start_time(seconds: float) -> str:
    global _second, _second_text
    milliseconds = int(seconds * 1000)
    if not 0 <= milliseconds - _second < 1000:
        _second = milliseconds // 1000 * 1000
        _second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(_second // 1000))
    return _second_text + _MILLISECONDS[milliseconds - _second]


@functools.cache
def _time_pieces(text: str) -> tuple[list[str], list[int]]:
    """Splits at the fractions of a second, which strftime does not know: the texts between, and their digits."""
    pieces = re.split(r"%(\d?)f", text)
    return pieces[0::2], [int(digits or 9) for digits in pieces[1::2]]


def _time_as(seconds: float, text: str) -> str:
    return _formatted(seconds, text, time.gmtime(seconds))


def _formatted(seconds: float, text: str, moment: time.struct_time) -> str:
    whole, digits = _time_pieces(text)
    fraction = f"{int(seconds % 1 * 1e9):09d}"
    shown = _strftime(whole[0], moment, seconds)
    for width, piece in zip(digits, whole[1:], strict=True):
        shown += fraction[:width] + _strftime(piece, moment, seconds)
    return shown


def _local_time_as(seconds: float, text: str) -> str:
    return _formatted(seconds, text, time.localtime(seconds))


def _strftime(text: str, moment: time.struct_time, seconds: float) -> str:
    return time.strftime(text.replace("%s", str(int(seconds))), moment) if text else ""


_GRPC_NAMES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip


def _grpc_name(status: int) -> str | int:
    return _GRPC_NAMES[status] if 0 <= status < len(_GRPC_NAMES) else status


NAMES: Mapping[str, Any] = {
    "by_name": by_name,
    "cut": _cut,
    "flags": response_flags.text,
    "grpc_name": _grpc_name,
    "host": _host,
    "local_time_as": _local_time_as,
    "now": time.time,
    "query_parameter": _query_parameter_of,
    "header": _first,
    "hostname": socket.gethostname(),
    "long_flags": response_flags.long_text,
    "port": _port,
    "server_name": _server_name,
    "start_time": _default_start_time,
    "time_as": _time_as,
}
