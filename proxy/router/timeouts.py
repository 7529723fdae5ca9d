"""The times one request may take, from its route.

Pure: durations in seconds, 0 meaning none. Reference: Envoy source/common/router/router.cc `FilterUtility::finalTimeout`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`route`: whole response including retries; `per_try`: one attempt."""

    route: float = 0.0
    per_try: float = 0.0

    def __post_init__(self) -> None:
        if self.route and self.per_try >= self.route:
            # A per-try timeout not below the route timeout has no effect.
            object.__setattr__(self, "per_try", 0.0)

    def expected_ms(self, elapsed: float) -> bytes | None:
        """`x-envoy-expected-rq-timeout-ms` after `elapsed` s of the route timeout; None: not sent."""
        if not self.route:
            return b"%d" % (self.per_try * 1000) if self.per_try else None
        left = max(self.route - elapsed, 0.001)
        return b"%d" % (min(left, self.per_try or left) * 1000)


NO_TIMEOUTS = Timeouts()
"""Routes without a timeout share this one, so that a comparison by identity tells them."""
