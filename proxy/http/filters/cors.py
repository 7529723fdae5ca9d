"""`envoy.filters.http.cors`: answers preflight requests of allowed origins, and marks the responses they may read.

Acts only where a route that forwards has a policy. Of several levels each property is the most specific one that is set.
An origin that is not allowed gets no header: the browser is what refuses.
Reference: Envoy source/extensions/filters/http/cors/cors_filter.cc; reference §5.11; the Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from proxy.config.per_filter import CORS, CorsPolicy
from proxy.config.values import RuntimeFractionalPercent, StringMatcher
from proxy.http.filter_chain import Headers, HttpFilter
from proxy.http.local_reply import LocalReply
from proxy.http.stream import Stream
from proxy.observability.stats import StatsStore
from proxy.router.conditions import string_test
from proxy.router.route import ForwardAction

_ALLOW_ORIGIN = b"access-control-allow-origin"
_ALLOW_CREDENTIALS = b"access-control-allow-credentials"
_EXPOSE_HEADERS = b"access-control-expose-headers"
_ALLOW_PRIVATE_NETWORK = b"access-control-allow-private-network"
_REQUEST_METHOD = b"access-control-request-method"
_REQUEST_PRIVATE_NETWORK = b"access-control-request-private-network"
_ASKED = {
    b"access-control-allow-methods": _REQUEST_METHOD,
    b"access-control-allow-headers": b"access-control-request-headers",
}
_DETAILS = "cors_response"
Test = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True)
class Cors:
    """A policy, its levels merged. `preflight` are the headers any preflight answer has; `expose` b"": none exposed."""

    enabled: float
    shadowed: float
    origins: tuple[Test, ...]
    preflight: tuple[tuple[bytes, bytes], ...]
    expose: bytes
    credentials: bool
    private_network: bool
    forwards_unmatched: bool

    def allows(self, origin: bytes) -> bool:
        return any(test(origin) for test in self.origins)


def cors_policy(levels: Sequence[CorsPolicy]) -> Cors:
    """From the levels that have a policy, most specific first. Raises ValueError(".allow_origin…: why")."""
    origins = next((found for level in levels if (found := level.allow_origin_string_match)), [])
    credentials = _first(levels, "allow_credentials", False)
    preflight = [
        (f"access-control-{name}".encode(), value.encode())
        for name, field in (
            ("allow-methods", "allow_methods"),
            ("allow-headers", "allow_headers"),
            ("max-age", "max_age"),
        )
        if (value := next((getattr(level, field) for level in levels if getattr(level, field)), ""))
    ]
    return Cors(
        enabled=_share(levels[0].filter_enabled, 1.0),
        shadowed=_share(levels[0].shadow_enabled, 0.0),
        origins=_tests(origins),
        preflight=((_ALLOW_CREDENTIALS, b"true"), *preflight) if credentials else tuple(preflight),
        expose=next((level.expose_headers for level in levels if level.expose_headers), "").encode(),
        credentials=credentials,
        private_network=_first(levels, "allow_private_network_access", False),
        forwards_unmatched=_first(levels, "forward_not_matching_preflights", True),
    )


def _tests(matchers: list[StringMatcher]) -> tuple[Test, ...]:
    """A matcher that takes the origin `*`, which no browser sends, takes every origin."""
    found = []
    for index, matcher in enumerate(matchers):
        try:
            found.append(string_test(matcher)[1])
        except ValueError as error:
            raise ValueError(f".allow_origin_string_match[{index}]: {error}") from None
    return (_any_origin,) if any(test(b"*") for test in found) else tuple(found)


def _any_origin(_: bytes) -> bool:
    return True


def _first(levels: Sequence[CorsPolicy], field: str, default: bool) -> bool:
    return next((value for level in levels if (value := getattr(level, field)) is not None), default)


def _share(percent: RuntimeFractionalPercent | None, default: float) -> float:
    return default if percent is None else percent.default_value.fraction


class CorsFilter(HttpFilter):
    """See the module."""

    name: ClassVar[str] = CORS
    only_by_route = True

    def __init__(self, store: StatsStore, stat_prefix: str, draw: Callable[[], float]) -> None:
        self._valid = store.counter(f"http.{stat_prefix}.cors.origin_valid")
        self._invalid = store.counter(f"http.{stat_prefix}.cors.origin_invalid")
        self._draw = draw

    def silence(self) -> bool:
        return True

    def on_request_headers(self, stream: Stream) -> LocalReply | None:
        policy: Cors | None = stream.filter_config.get(CORS)
        if policy is None or b"origin" not in stream.fields or not _forwarded(stream):
            return None
        enabled = self._draw() < policy.enabled
        if not enabled and self._draw() >= policy.shadowed:
            return None
        # Browsers send one; of several none is like an allowed one.
        origin = b",".join(value for name, value in stream.headers if name == b"origin")
        if not origin:
            return None
        allowed = policy.allows(origin)
        (self._valid if allowed else self._invalid).value += 1
        if not enabled:
            return None
        preflight = stream.method == b"OPTIONS" and bool(stream.fields.get(_REQUEST_METHOD))
        if not allowed:
            return _answer(policy, stream) if preflight and not policy.forwards_unmatched else None
        stream.response_edits += (_mark(policy, origin),)
        if not preflight:
            return None
        return _answer(policy, stream, _private_network(policy, stream))


def _forwarded(stream: Stream) -> bool:
    return stream.route is not None and isinstance(stream.route.action, ForwardAction)


def _private_network(policy: Cors, stream: Stream) -> tuple[tuple[bytes, bytes], ...]:
    asked = policy.private_network and stream.fields.get(_REQUEST_PRIVATE_NETWORK) == b"true"
    return ((_ALLOW_PRIVATE_NETWORK, b"true"),) if asked else ()


def _answer(policy: Cors, stream: Stream, more: tuple[tuple[bytes, bytes], ...] = ()) -> LocalReply:
    """A lone `*` allows what was asked for, by its name: with credentials browsers take no `*`."""
    headers = [
        (name, stream.fields.get(_ASKED[name], b"") if value == b"*" and name in _ASKED else value)
        for name, value in policy.preflight
    ]
    return LocalReply(200, details=_DETAILS, headers=(*headers, *more), as_is=True)


def _mark(policy: Cors, origin: bytes) -> Callable[[int, Headers], None]:
    """What an allowed origin's response says, whatever the upstream said of it."""
    marks = {_ALLOW_ORIGIN: origin}
    if policy.credentials:
        marks[_ALLOW_CREDENTIALS] = b"true"
    if policy.expose:
        marks[_EXPOSE_HEADERS] = policy.expose

    def mark(_: int, headers: Headers) -> None:
        headers[:] = [pair for pair in headers if pair[0] not in marks]
        headers += marks.items()

    return mark
