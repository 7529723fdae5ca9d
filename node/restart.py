"""When a container that ended is started again.

Pure: time is an argument. The delay doubles from `base` to `cap` with each restart and is forgotten after the container ran for
twice the cap, as in the kubelet. Reference: Kubernetes, "Pod Lifecycle", container restart policy.
"""

from __future__ import annotations

BASE_SECONDS = 10.0
CAP_SECONDS = 300.0


def should_restart(policy: str, exit_code: int) -> bool:
    """Whether `restartPolicy` asks for another run after `exit_code`."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


class BackOff:
    """The delays before a container's restarts; the first restart is immediate."""

    def __init__(self, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> None:
        self._base = base
        self._cap = cap
        self._next = 0.0

    def __repr__(self) -> str:
        return f"<BackOff next {self._next} s>"

    def delay(self, ran_seconds: float) -> float:
        """Seconds to wait before the next start of a container that ran for `ran_seconds`."""
        if ran_seconds > 2 * self._cap:
            self._next = 0.0
        delay = self._next
        self._next = min(max(self._base, 2 * delay), self._cap)
        return delay
