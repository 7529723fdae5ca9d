"""Additions to and removals from headers that routes, virtual hosts and weighted clusters ask for.

Compiled once per route: the levels are merged in Envoy's order (weighted cluster, route, virtual host, table), removals
of a level before its additions. Values are format strings; one without a command is a constant.
Reference: Envoy source/common/router/header_parser.cc, "custom request/response headers"; reference §5.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.config.values import HeaderValueOption
from proxy.observability.access_log_format import FormatError, compile_text
from proxy.observability.stream_info import StreamInfo
from proxy.router.inline_headers import JOINED, JOINED_IN_ANSWERS

Headers = list[tuple[bytes, bytes]]
Value = bytes | Callable[[StreamInfo], bytes]

APPEND = "APPEND_IF_EXISTS_OR_ADD"
ADD_IF_ABSENT = "ADD_IF_ABSENT"
OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"
OVERWRITE_IF_EXISTS = "OVERWRITE_IF_EXISTS"


@dataclass(frozen=True, slots=True)
class HeaderAddition:
    """`action` is HeaderAppendAction's name; `keep_empty` adds the header even if its value came out empty.

    `joined`: what is appended goes behind a comma, into the value that is there.
    """

    name: bytes
    value: Value
    action: str = APPEND
    keep_empty: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class HeaderOps:
    """One level's operations."""

    remove: frozenset[bytes] = frozenset()
    add: tuple[HeaderAddition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.remove or self.add)

    def apply(self, headers: Headers, info: StreamInfo) -> None:
        """Change `headers` in place."""
        if self.remove:
            headers[:] = [pair for pair in headers if pair[0] not in self.remove]
        for addition in self.add:
            _add(headers, addition, info)


def header_ops(
    add: Sequence[HeaderValueOption], remove: Sequence[str] = (), *, of_response: bool = False
) -> HeaderOps:
    """The operations of one level on one side. Raises ValueError for a name that is not theirs to change, and for a value that is
    no format string.
    """
    joined = JOINED_IN_ANSWERS if of_response else JOINED
    if any(map(_is_internal, remove)):
        raise ValueError(": :-prefixed or host headers may not be removed")
    if any(_is_internal(one.header.key) for one in add):
        raise ValueError(": :-prefixed or host headers may not be modified")
    return HeaderOps(
        frozenset(name.lower().encode() for name in remove), tuple(_addition(one, joined) for one in add)
    )


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


def _addition(option: HeaderValueOption, joined: frozenset[bytes]) -> HeaderAddition:
    name = option.header.key.lower().encode()
    return HeaderAddition(
        name,
        _value(option.header.value),
        option.append_action,
        option.keep_empty_value,
        option.append_action == APPEND and name in joined,
    )


def _value(text: str) -> Value:
    if "%" not in text:
        return text.encode()
    try:
        line = compile_text(text, omit_empty=True)
    except FormatError as error:
        raise ValueError(f": {error}") from None
    # What a peer's certificate says is not checked as headers are: no value may begin a line of its own.
    return lambda info: line(info).encode("utf-8", "surrogateescape").translate(None, b"\x00\r\n")


def apply_to_response(
    levels: tuple[HeaderOps, ...], status: int, headers: Headers, info: StreamInfo
) -> dict[bytes, bytes]:
    """Change an upstream's response in place; values may name its status and headers. Returns the headers by name."""
    info.response_code = status
    info.response_headers = headers
    for ops in levels:
        ops.apply(headers, info)
    return dict(headers)


def apply_to_local_reply(
    levels: tuple[HeaderOps, ...], flag: int, details: str, headers: Headers, info: StreamInfo
) -> None:
    """Change the headers of a reply made here. As in Envoy, its status is not known to values yet; who serves is not theirs to say."""
    info.response_flags |= flag
    info.response_code_details = details
    info.response_headers = headers
    for ops in levels:
        ops.apply(headers, info)
    headers[:] = [pair for pair in headers if pair[0] != b"server"]


def without(headers: Headers, fields: dict[bytes, bytes], name: bytes) -> Headers:
    """The headers without `name`; `fields` indexes them, and has it. The same list, changed, if no name repeats."""
    if len(headers) == len(fields):
        headers.remove((name, fields[name]))
        return headers
    return [pair for pair in headers if pair[0] != name]


def _add(headers: Headers, addition: HeaderAddition, info: StreamInfo) -> None:
    value = addition.value if isinstance(addition.value, bytes) else addition.value(info)
    if not value and not addition.keep_empty:
        return
    name, action = addition.name, addition.action
    present = any(pair[0] == name for pair in headers)
    if (action == ADD_IF_ABSENT and present) or (action == OVERWRITE_IF_EXISTS and not present):
        return
    if present and action in (OVERWRITE, OVERWRITE_IF_EXISTS):
        headers[:] = [pair for pair in headers if pair[0] != name]
    if present and addition.joined:
        at = next(at for at, pair in enumerate(headers) if pair[0] == name)
        headers[at] = (name, headers[at][1] + b"," + value)
        return
    headers.append((name, value))
