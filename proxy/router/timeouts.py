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

    def effective_per_try(self) -> float:
        """A per-try timeout not below the route timeout has no effect."""
        if self.route and self.per_try >= self.route:
            return 0.0
        return self.per_try

    def expected_ms(self, elapsed: float) -> bytes | None:
        """`x-envoy-expected-rq-timeout-ms` after `elapsed` s of the route timeout; None: not sent."""
        per_try = self.effective_per_try()
        if not self.route:
            return str(int(per_try * 1000)).encode() if per_try else None
        left = max(self.route - elapsed, 0.001)
        return str(int(min(left, per_try or left) * 1000)).encode()
