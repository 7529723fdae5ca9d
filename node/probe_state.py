"""What a probe's answers mean: thresholds, and what follows from crossing them.

Pure. Reference: Kubernetes, "Configure Liveness, Readiness and Startup Probes"; kubelet's prober/worker.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Times are seconds."""

    initial_delay: float
    period: float
    timeout: float
    success_threshold: int
    failure_threshold: int


def settings(probe: Mapping[str, Any]) -> ProbeSettings:
    """A probe's numbers, with Kubernetes' defaults; 0 means the default, as the API reads it."""
    return ProbeSettings(
        initial_delay=float(probe.get("initialDelaySeconds") or 0),
        period=float(probe.get("periodSeconds") or 10),
        timeout=float(probe.get("timeoutSeconds") or 1),
        success_threshold=int(probe.get("successThreshold") or 1),
        failure_threshold=int(probe.get("failureThreshold") or 3),
    )


class ProbeState:
    """Counts answers of one kind in a row; `verdict` changes only when a threshold is reached."""

    def __init__(self, probe: ProbeSettings) -> None:
        self._probe = probe
        self._last: bool | None = None
        self._run = 0
        self.verdict: bool | None = None

    def __repr__(self) -> str:
        return f"<ProbeState {self.verdict}, {self._run} × {self._last}>"

    def observe(self, ok: bool) -> bool | None:
        """Takes in one answer and returns the verdict, None while there is none yet."""
        self._run = self._run + 1 if ok == self._last else 1
        self._last = ok
        threshold = self._probe.success_threshold if ok else self._probe.failure_threshold
        if self._run >= threshold:
            self.verdict = ok
        return self.verdict
