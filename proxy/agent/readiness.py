"""Whether a sidecar may get traffic, and Istio's words for why not yet.

Pure: judges counters that someone read from our own stats or from Envoy's admin page. Once ready stays ready (a later
refused push does not take a pod out of service), until it terminates.
Reference: Istio pilot/cmd/pilot-agent/status/ready/probe.go.
"""

from __future__ import annotations

from dataclasses import dataclass

# What to ask Envoy's admin page for.
STATS_QUERY = (
    "/stats?filter=^(server.state|listener_manager.workers_started|"
    "cluster_manager.cds.(update_success|update_rejected)|listener_manager.lds.(update_success|update_rejected))$"
)
_STATES = {0: "LIVE", 1: "DRAINING", 2: "PRE_INITIALIZING", 3: "INITIALIZING"}


@dataclass(frozen=True, slots=True)
class Observed:
    """The counters that readiness depends on; `server_state` is Envoy's number, 0 for LIVE."""

    cds_success: int = 0
    cds_rejected: int = 0
    lds_success: int = 0
    lds_rejected: int = 0
    server_state: int = 3
    workers_started: int = 0

    def __str__(self) -> str:
        return (
            f"cds updates: {self.cds_success} successful, {self.cds_rejected} rejected; "
            f"lds updates: {self.lds_success} successful, {self.lds_rejected} rejected"
        )


def read_stats(text: str) -> Observed:
    """Read the text answer to `STATS_QUERY`; what is missing counts as nothing yet."""
    values = {}
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if value.strip().isdigit():
            values[name] = int(value)
    return Observed(
        cds_success=values.get("cluster_manager.cds.update_success", 0),
        cds_rejected=values.get("cluster_manager.cds.update_rejected", 0),
        lds_success=values.get("listener_manager.lds.update_success", 0),
        lds_rejected=values.get("listener_manager.lds.update_rejected", 0),
        server_state=values.get("server.state", 3),
        workers_started=values.get("listener_manager.workers_started", 0),
    )


class Readiness:
    """The answer of `/healthz/ready` over time."""

    def __init__(self) -> None:
        self._was_ready = False
        self._terminated = False

    def terminate(self) -> None:
        """From now on not ready: the sidecar drains."""
        self._terminated = True

    @property
    def settled(self) -> bool:
        """Whether `reason` no longer depends on what is observed."""
        return self._was_ready or self._terminated

    def reason(self, observed: Observed) -> str | None:
        """None when ready, else why not."""
        if self._terminated:
            return "server is terminated"
        if self._was_ready:
            return None
        missing = _missing(observed)
        self._was_ready = missing is None
        return missing


def _missing(seen: Observed) -> str | None:
    if not (seen.cds_success and seen.lds_success):
        if seen.cds_rejected or seen.lds_rejected:
            return f"config received from XDS server, but was rejected: {seen}"
        if not seen.cds_success and not seen.lds_success:
            return f"config not received from XDS server (is Istiod running?): {seen}"
        return f"config not fully received from XDS server: {seen}"
    if seen.server_state != 0:
        return f"server is not live, current state is: {_STATES.get(seen.server_state, seen.server_state)}"
    return None if seen.workers_started else "workers have not yet started"
