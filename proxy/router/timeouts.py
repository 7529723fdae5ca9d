"""The times one request may take: what its route allows, and what a trusted caller or a gRPC client asks for.

Pure: durations in seconds, 0 meaning none. Reference: Envoy source/common/router/router.cc (`FilterUtility::finalTimeout`,
`setTimeoutHeaders`), source/common/grpc/common.cc (`getGrpcTimeout`, `toGrpcTimeout`); reference §5.7, §8.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

_GRPC_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])\Z")
_GRPC_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_GRPC_MAX_DIGITS = 99_999_999  # the protocol's TimeoutValue has at most eight digits


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`route`: whole response including retries; `per_try`: one attempt until its response begins.

    `stream_duration`: one attempt from its connection to its end. `timeout_status` answers when the time is up.
    `grpc`: each attempt's own time is written into `grpc-timeout`. `hedge`: a slow attempt goes on beside the next one.
    """

    route: float = 0.0
    per_try: float = 0.0
    stream_duration: float = 0.0
    timeout_status: int = 504
    grpc: bool = False
    hedge: bool = False

    def __post_init__(self) -> None:
        if self.route and self.per_try >= self.route:
            # A per-try timeout not below the route timeout has no effect.
            object.__setattr__(self, "per_try", 0.0)

    def of_attempt(self, elapsed: float) -> float:
        """The time an attempt is told it has, when `elapsed` s passed since the request was complete; 0: no limit."""
        expected = self.route if self.hedge or not self.per_try else self.per_try
        if not expected or not self.route:
            return expected
        # Out of time would read as unlimited: the timer is about to fire.
        return min(expected, self.route - elapsed) if elapsed < self.route else 0.001


NO_TIMEOUTS: Final = Timeouts()
"""Routes without a timeout share this one, so that a comparison by identity tells them."""


@dataclass(frozen=True, slots=True)
class GrpcTimeout:
    """What a route does with `grpc-timeout` of gRPC requests (`max_grpc_timeout`). `longest` 0: as the client asks."""

    longest: float = 0.0
    offset: float = 0.0

    def timeouts(self, asked: bytes | None, route: Timeouts) -> Timeouts:
        """The timeouts of a gRPC request with this `grpc-timeout`."""
        timeout = (parse_grpc_timeout(asked) if asked is not None else None) or 0.0
        if self.offset < timeout:
            timeout -= self.offset
        if self.longest and (not timeout or timeout > self.longest):
            timeout = self.longest
        return replace(route, route=timeout, grpc=True)


@dataclass(frozen=True, slots=True)
class StreamDuration:
    """How long a request may last on the client's side, from its first byte (`max_stream_duration` of a route).

    `longest` 0: no limit. `grpc_longest` None: `grpc-timeout` is not looked at; 0: as the client asks.
    """

    longest: float = 0.0
    grpc_longest: float | None = None
    grpc_offset: float = 0.0

    def of_request(self, grpc_timeout: bytes | None) -> tuple[float | None, bytes | None]:
        """(seconds, `grpc-timeout` to send on instead); None: no limit, or the header as it came."""
        asked = None
        if grpc_timeout is not None and self.grpc_longest is not None:
            asked = parse_grpc_timeout(grpc_timeout)
        if asked is None:
            return self.longest or None, None
        if self.grpc_longest and asked > self.grpc_longest:
            asked = self.grpc_longest
        if asked and self.grpc_offset:
            asked = max(0.0, asked - self.grpc_offset)
        return asked, format_grpc_timeout(asked) if asked else None


def parse_grpc_timeout(value: bytes) -> float | None:
    """Seconds, in whole milliseconds rounded up; None if it is no gRPC timeout."""
    found = _GRPC_TIMEOUT.match(value)
    if found is None:
        return None
    seconds = int(found[1]) * _GRPC_UNITS[found[2]]
    milliseconds = int(seconds * 1000 + 1e-6)
    return (milliseconds + (milliseconds < seconds * 1000 - 1e-6)) / 1000


def format_grpc_timeout(seconds: float) -> bytes:
    """The header's value: milliseconds, or the next unit that fits into eight digits."""
    value, units = round(seconds * 1000), [(b"m", 1000), (b"S", 60), (b"M", 60)]
    for unit, step in units:
        if value <= _GRPC_MAX_DIGITS:
            return b"%d%s" % (value, unit)
        value //= step
    return b"%dH" % min(value, _GRPC_MAX_DIGITS)
