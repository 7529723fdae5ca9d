"""Compiles Envoy's access log formats into functions over a `StreamInfo`.

Decides what each command operator prints; does no I/O and knows no file. A format is read once, when configuration
arrives: an operator that is not implemented raises `FormatError`, which becomes a NACK, and nothing is left to fail
per request. A value never learned prints `-` in text and null in JSON.
Reference: Envoy "Access logging", command operators; Istio's default line, reference §9.4.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from proxy.observability import response_flags
from proxy.observability.stream_info import Headers, StreamInfo

Value = str | int | None
Getter = Callable[[StreamInfo], Value]
Line = Callable[[StreamInfo], str]

ISTIO_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
# Envoy source/common/formatter/substitution_formatter.cc, DEFAULT_FORMAT: a file log without a format.
ENVOY_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    '"%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)

_OPERATOR = re.compile(
    r"%(?P<name>[A-Z][A-Z0-9_]*)(?:\((?P<argument>[^()]*)\))?(?::(?P<length>\d+))?%|(?P<percent>%%)"
)


class FormatError(ValueError):
    """The format cannot be compiled; the text quotes the operator."""


def compile_text(text: str, *, omit_empty: bool = False) -> Line:
    """A function that renders one line. A missing value is `-`, or nothing with `omit_empty`."""
    missing = "" if omit_empty else "-"
    parts = _parse(text)
    # One `%` on a ready template beats joining: the constant pieces are copied by C code.
    template = "".join(p.replace("%", "%%") if isinstance(p, str) else "%s" for p in parts)
    getters = [p for p in parts if not isinstance(p, str)]

    def line(info: StreamInfo) -> str:
        return template % tuple([missing if (value := get(info)) is None else value for get in getters])

    return line


def compile_json(fields: Mapping[str, Any], *, omit_empty: bool = False) -> Line:
    """A function that renders one JSON object and a newline; keys are sorted, numbers stay numbers, missing is null."""
    render = _json_value(dict(fields), omit_empty)

    def line(info: StreamInfo) -> str:
        value = render(info)
        try:
            return msgspec.json.encode(value).decode() + "\n"
        except UnicodeEncodeError:  # bytes of a header that are no UTF-8; JSON cannot carry them
            return msgspec.json.encode(_sanitized(value)).decode() + "\n"

    return line


def _json_value(value: Any, omit_empty: bool) -> Callable[[StreamInfo], Any]:
    if isinstance(value, Mapping):
        items = [(key, _json_value(value[key], omit_empty)) for key in sorted(value)]
        if omit_empty:
            return lambda info: {k: v for k, get in items if (v := get(info)) is not None}
        return lambda info: {key: get(info) for key, get in items}
    if isinstance(value, list):
        each = [_json_value(item, omit_empty) for item in value]
        return lambda info: [get(info) for get in each]
    if not isinstance(value, str):
        return lambda _: value
    parts = _parse(value)
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]
    return compile_text(value, omit_empty=omit_empty)


def _sanitized(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sanitized(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_sanitized(inner) for inner in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _parse(text: str) -> list[str | Getter]:
    parts: list[str | Getter] = []
    at = 0
    for match in _OPERATOR.finditer(text):
        _literal(parts, text[at : match.start()])
        at = match.end()
        parts.append("%" if match["percent"] else _getter(match))
    _literal(parts, text[at:])
    return parts


def _literal(parts: list[str | Getter], text: str) -> None:
    if "%" in text:
        raise FormatError(f"cannot parse the command operator at {text[text.index('%') :][:40]!r}")
    if text:
        parts.append(text)


def _getter(match: re.Match[str]) -> Getter:
    name, argument, length = match["name"], match["argument"], match["length"]
    if name in _PLAIN:
        if argument is not None:
            raise FormatError(f"%{name}% takes no argument")
        get = _PLAIN[name]
    elif name in _WITH_ARGUMENT:
        get = _WITH_ARGUMENT[name](argument)
    else:
        raise FormatError(f"command operator %{name}% is not supported")
    return _cut(get, int(length)) if length else get


def _cut(get: Getter, length: int) -> Getter:
    def cut(info: StreamInfo) -> Value:
        value = get(info)
        return value[:length] if isinstance(value, str) else value

    return cut


def _decode(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _first(headers: Headers | None, name: bytes) -> str | None:
    if headers is not None:
        for key, value in headers:
            if key == name:
                return _decode(value)
    return None


def _request_header(name: str) -> Getter:
    key = name.lower().encode()
    if key in (b":method", b":path", b":authority", b"host"):
        attribute = "authority" if key == b"host" else name.lower()[1:]
        return lambda info: _decode(getattr(info, attribute)) or None
    if key == b"x-envoy-original-path":
        return lambda info: _decode(info.original_path) if info.original_path else None
    return lambda info: _first(info.request_headers, key)


def _response_header(name: str) -> Getter:
    key = name.lower().encode()
    if key == b":status":
        return lambda info: str(info.response_code) if info.response_code else None
    if key == b"x-envoy-upstream-service-time":

        def service_time(info: StreamInfo) -> Value:
            value = info.upstream_service_time_ms
            return _first(info.response_headers, key) if value is None else str(value)

        return service_time
    return lambda info: _first(info.response_headers, key)


def _header_operator(of: Callable[[str], Getter]) -> Callable[[str | None], Getter]:
    def build(argument: str | None) -> Getter:
        names = (argument or "").split("?")
        if not all(names) or len(names) > 2:
            raise FormatError(f"want a header name, or two as MAIN?OTHER, not {argument!r}")
        main = of(names[0])
        if len(names) == 1:
            return main
        other = of(names[1])

        def either(info: StreamInfo) -> Value:
            value = main(info)
            return other(info) if value is None else value

        return either

    return build


def _start_time(argument: str | None) -> Getter:
    if not argument:
        return _default_start_time
    pieces = re.split(r"%(\d?)f", argument)  # fractions of a second, which strftime does not know
    whole, digits = pieces[0::2], [int(d or 9) for d in pieces[1::2]]

    def render(info: StreamInfo) -> Value:
        seconds = time.gmtime(info.start_time)
        fraction = f"{int(info.start_time % 1 * 1e9):09d}"
        text = _strftime(whole[0], seconds, info.start_time)
        for width, piece in zip(digits, whole[1:], strict=True):
            text += fraction[:width] + _strftime(piece, seconds, info.start_time)
        return text

    return render


def _strftime(text: str, moment: time.struct_time, seconds: float) -> str:
    return time.strftime(text.replace("%s", str(int(seconds))), moment) if text else ""


# Requests of one second share the text up to the second.
_second: tuple[int, str] = (0, "")


def _default_start_time(info: StreamInfo) -> str:
    global _second
    milliseconds = int(info.start_time * 1000)
    second = milliseconds // 1000
    if second != _second[0]:
        _second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
    return f"{_second[1]}.{milliseconds % 1000:03d}Z"


def _host(address: str | None) -> str | None:
    return address.rpartition(":")[0].strip("[]") if address else None


def _port(address: str | None) -> str | None:
    return address.rpartition(":")[2] if address else None


def _duration(info: StreamInfo) -> int:
    return int((info.end - info.start) * 1000)


def _grpc_status(info: StreamInfo) -> Value:
    if info.grpc_status is None:
        return None
    return _GRPC_NAMES[info.grpc_status] if 0 <= info.grpc_status < len(_GRPC_NAMES) else info.grpc_status


_GRPC_NAMES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip

_HOSTNAME = socket.gethostname()

_PLAIN: dict[str, Getter] = {
    "PROTOCOL": attrgetter("protocol"),
    "RESPONSE_CODE": attrgetter("response_code"),
    "RESPONSE_FLAGS": lambda i: response_flags.text(i.response_flags),
    "RESPONSE_FLAGS_LONG": lambda i: response_flags.long_text(i.response_flags),
    "RESPONSE_CODE_DETAILS": attrgetter("response_code_details"),
    "CONNECTION_TERMINATION_DETAILS": attrgetter("connection_termination_details"),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": attrgetter("upstream_transport_failure_reason"),
    "BYTES_RECEIVED": attrgetter("bytes_received"),
    "BYTES_SENT": attrgetter("bytes_sent"),
    "DOWNSTREAM_WIRE_BYTES_RECEIVED": attrgetter("wire_bytes_received"),
    "DOWNSTREAM_WIRE_BYTES_SENT": attrgetter("wire_bytes_sent"),
    "DURATION": _duration,
    "GRPC_STATUS_NUMBER": attrgetter("grpc_status"),
    "GRPC_STATUS": _grpc_status,
    "HOSTNAME": lambda _: _HOSTNAME,
    "ROUTE_NAME": attrgetter("route_name"),
    "REQUESTED_SERVER_NAME": attrgetter("requested_server_name"),
    "UPSTREAM_HOST": attrgetter("upstream_host"),
    "UPSTREAM_REMOTE_ADDRESS": attrgetter("upstream_host"),
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": lambda i: _host(i.upstream_host),
    "UPSTREAM_CLUSTER": attrgetter("upstream_cluster"),
    "UPSTREAM_CLUSTER_RAW": attrgetter("upstream_cluster"),
    "UPSTREAM_LOCAL_ADDRESS": attrgetter("upstream_local_address"),
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": lambda i: _host(i.upstream_local_address),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": attrgetter("upstream_attempts"),
    "UPSTREAM_PEER_URI_SAN": attrgetter("upstream_peer_uri_san"),
    "DOWNSTREAM_PEER_URI_SAN": attrgetter("downstream_peer_uri_san"),
    "DOWNSTREAM_LOCAL_URI_SAN": attrgetter("downstream_local_uri_san"),
    "DOWNSTREAM_LOCAL_ADDRESS": attrgetter("downstream_local_address"),
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": lambda i: _host(i.downstream_local_address),
    "DOWNSTREAM_LOCAL_PORT": lambda i: _port(i.downstream_local_address),
    "DOWNSTREAM_REMOTE_ADDRESS": attrgetter("downstream_remote_address"),
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": lambda i: _host(i.downstream_remote_address),
    "DOWNSTREAM_REMOTE_PORT": lambda i: _port(i.downstream_remote_address),
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": attrgetter("downstream_remote_address"),
}  # fmt: skip

_WITH_ARGUMENT: dict[str, Callable[[str | None], Getter]] = {
    "REQ": _header_operator(_request_header),
    "RESP": _header_operator(_response_header),
    "START_TIME": _start_time,
}
