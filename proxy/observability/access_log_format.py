"""Compiles Envoy's access log formats: each becomes one object, which renders an ended request.

A text is its constant pieces with a place after each for the value of an operator. Does no I/O and knows no file. A format
is read once, when configuration arrives: an operator that is not implemented raises `FormatError`, which becomes a NACK, and
nothing is left to fail per request. A value never learned prints `-` in text and null in JSON.
Reference: Envoy "Access logging"; Istio's default line, reference §9.4.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.observability.access_log_operators import FormatError, Operator, Part, operator
from proxy.observability.stream_info import StreamInfo

__all__ = ["ENVOY_TEXT", "ISTIO_TEXT", "FormatError", "Line", "compile_json", "compile_text"]

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


class Line:
    """Calling it renders an ended request, as `render`."""

    def render(self, info: StreamInfo) -> str:
        raise NotImplementedError

    def __call__(self, info: StreamInfo) -> str:
        return self.render(info)


class _TextLine(Line):
    """`constants` are the pieces around the values, one more than these; `missing` is shown for a value never learned."""

    def __init__(self, constants: list[str], values: list[Operator], missing: str) -> None:
        self._pieces = [piece for constant in constants for piece in (constant, "")][:-1]
        self._values = values
        self._missing = missing

    def render(self, info: StreamInfo) -> str:
        pieces, place = self._pieces.copy(), 1
        for one in self._values:
            found = one.value(info)
            if found is None:
                found = self._missing
            pieces[place] = found if isinstance(found, str) else str(found)
            place += 2
        return "".join(pieces)


class _JsonLine(Line):
    """One JSON object and a newline."""

    def __init__(self, made: Part) -> None:
        self._made = made

    def render(self, info: StreamInfo) -> str:
        value = self._made.value(info)
        try:
            return msgspec.json.encode(value).decode() + "\n"
        except UnicodeEncodeError:  # bytes of a header that are no UTF-8; JSON cannot carry them
            return msgspec.json.encode(_sanitized(value)).decode() + "\n"


class _Text(Part):
    def __init__(self, line: Line) -> None:
        self._line = line

    def value(self, info: StreamInfo) -> object:
        return self._line.render(info)


class _Constant(Part):
    def __init__(self, constant: object) -> None:
        self._constant = constant

    def value(self, info: StreamInfo) -> object:
        return self._constant


class _Object(Part):
    """`omit_empty`: without what was never learned."""

    def __init__(self, fields: dict[str, Part], omit_empty: bool) -> None:
        self._fields = fields
        self._omit_empty = omit_empty

    def value(self, info: StreamInfo) -> object:
        shown: dict[str, object] = {}
        for key, part in self._fields.items():
            value = part.value(info)
            if value is not None or not self._omit_empty:
                shown[key] = value
        return shown


class _List(Part):
    def __init__(self, items: list[Part]) -> None:
        self._items = items

    def value(self, info: StreamInfo) -> object:
        return [item.value(info) for item in self._items]


# Every listener brings the same few formats, which are compiled once.
_remember = functools.lru_cache(256)


@_remember
def compile_text(text: str, *, omit_empty: bool = False) -> Line:
    """Renders one line. A missing value is `-`, or nothing with `omit_empty`."""
    return _text_line(*_parse(text), omit_empty)


def compile_json(fields: Mapping[str, Any], *, omit_empty: bool = False) -> Line:
    """Renders one JSON object and a newline; keys are sorted, numbers stay numbers, missing is null."""
    return _compile_json(msgspec.json.encode(fields), omit_empty)


@_remember
def _compile_json(fields: bytes, omit_empty: bool) -> Line:
    return _JsonLine(_json(msgspec.json.decode(fields), omit_empty))


def _text_line(constants: list[str], values: list[Operator], omit_empty: bool) -> Line:
    return _TextLine(constants, values, "" if omit_empty else "-")


def _json(value: Any, omit_empty: bool) -> Part:
    if isinstance(value, dict):
        return _Object({key: _json(value[key], omit_empty) for key in sorted(value)}, omit_empty)
    if isinstance(value, list):
        return _List([_json(item, omit_empty) for item in value])
    if not isinstance(value, str):
        return _Constant(value)
    constants, values = _parse(value)
    if constants == ["", ""]:
        return values[0]
    return _Text(_text_line(constants, values, omit_empty))


def _sanitized(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sanitized(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_sanitized(inner) for inner in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _parse(text: str) -> tuple[list[str], list[Operator]]:
    """The constant pieces, and the operators between them."""
    constants: list[str] = [""]
    values: list[Operator] = []
    at = 0
    for match in _OPERATOR.finditer(text):
        begin, end = match.span()
        constants[-1] += _literal(text[at:begin])
        at = end
        if match["percent"]:
            constants[-1] += "%"
        else:
            length = int(match["length"]) if match["length"] else None
            values.append(operator(match["name"], match["argument"], length))
            constants.append("")
    constants[-1] += _literal(text[at:])
    return constants, values


def _literal(text: str) -> str:
    if "%" in text:
        _, percent, rest = text.partition("%")
        raise FormatError(f"cannot parse the command operator at {(percent + rest)[:40]!r}")
    return text
