"""Compiles Envoy's access log formats: each becomes one function without a loop, which renders an ended request.

A line has some 25 values, and a call for each would be most of what it costs. So the expressions of its operators are put
into one f-string, or one dict for JSON, as a syntax tree: literal text stays a constant of the tree and is never read as code.
Does no I/O and knows no file. A format is read once, when configuration arrives: an operator that is not implemented
raises `FormatError`, which becomes a NACK, and nothing is left to fail per request. A value never learned prints `-` in
text and null in JSON. Reference: Envoy "Access logging"; Istio's default line, reference §9.4.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from proxy.observability.access_log_operators import NAMES, FormatError, Operator, operator
from proxy.observability.stream_info import StreamInfo

__all__ = ["ENVOY_TEXT", "ISTIO_TEXT", "FormatError", "Line", "compile_json", "compile_text"]

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


# Every listener brings the same few formats, and compiling one takes about 2 ms.
_remember = functools.lru_cache(256)


@_remember
def compile_text(text: str, *, omit_empty: bool = False) -> Line:
    """A function that renders one line. A missing value is `-`, or nothing with `omit_empty`."""
    line: Line = _function(_text(_parse(text), omit_empty))
    return line


def compile_json(fields: Mapping[str, Any], *, omit_empty: bool = False) -> Line:
    """A function that renders one JSON object and a newline; keys are sorted, numbers stay numbers, missing is null."""
    return _compile_json(msgspec.json.encode(fields), omit_empty)


@_remember
def _compile_json(fields: bytes, omit_empty: bool) -> Line:
    render = _function(_json(msgspec.json.decode(fields), omit_empty))

    def line(info: StreamInfo) -> str:
        value = render(info)
        try:
            return msgspec.json.encode(value).decode() + "\n"
        except UnicodeEncodeError:  # bytes of a header that are no UTF-8; JSON cannot carry them
            return msgspec.json.encode(_sanitized(value)).decode() + "\n"

    return line


def _function(returned: ast.expr) -> Callable[[StreamInfo], Any]:
    """`def render(info)` that returns the expression; request headers are looked up by name if it asks for any."""
    used = {node.id for node in ast.walk(returned) if isinstance(node, ast.Name)}
    line = "    request = by_name(info.request_headers)\n" if "request" in used else ""
    module = ast.parse(f"def render(info):\n{line}    return None")
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body[-1] = ast.Return(returned)
    names = {**NAMES, "present": _present}
    exec(compile(ast.fix_missing_locations(module), "<access log format>", "exec"), names)  # noqa: S102 - our own tree, see above
    render: Callable[[StreamInfo], Any] = names["render"]
    return render


def _expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


def _text(parts: list[str | Operator], omit_empty: bool) -> ast.expr:
    missing = "" if omit_empty else "-"
    values: list[ast.expr] = [
        ast.Constant(part)
        if isinstance(part, str)
        else ast.FormattedValue(_expression(part.expression(missing)), -1)
        for part in parts
    ]
    return ast.JoinedStr(values)


def _json(value: Any, omit_empty: bool) -> ast.expr:
    if isinstance(value, Mapping):
        keys = sorted(value)
        shown = ast.Dict([ast.Constant(key) for key in keys], [_json(value[key], omit_empty) for key in keys])
        return ast.Call(ast.Name("present", ast.Load()), [shown], []) if omit_empty else shown
    if isinstance(value, list):
        return ast.List([_json(item, omit_empty) for item in value], ast.Load())
    if not isinstance(value, str):
        return ast.Constant(value)
    parts = _parse(value)
    if len(parts) == 1 and isinstance(parts[0], Operator):
        return _expression(parts[0].expression(None))
    return _text(parts, omit_empty)


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _sanitized(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sanitized(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_sanitized(inner) for inner in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _parse(text: str) -> list[str | Operator]:
    parts: list[str | Operator] = []
    at = 0
    for match in _OPERATOR.finditer(text):
        _literal(parts, text[at : match.start()])
        at = match.end()
        length = int(match["length"]) if match["length"] else None
        parts.append("%" if match["percent"] else operator(match["name"], match["argument"], length))
    _literal(parts, text[at:])
    return parts


def _literal(parts: list[str | Operator], text: str) -> None:
    if "%" in text:
        raise FormatError(f"cannot parse the command operator at {text[text.index('%') :][:40]!r}")
    if text:
        parts.append(text)
