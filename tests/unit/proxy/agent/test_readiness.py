"""Readiness: Istio's words, kept once true, ended by termination."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.agent.readiness import Observed, Readiness, read_stats

READY = Observed(cds_success=1, lds_success=1, server_state=0, workers_started=1)
COUNTS = "cds updates: 0 successful, 0 rejected; lds updates: 0 successful, 0 rejected"

CASES = [
    (READY, None),
    (Observed(), f"config not received from XDS server (is Istiod running?): {COUNTS}"),
    (replace(READY, lds_success=0), "config not fully received from XDS server: cds updates: 1 successful, 0 rejected; "
     "lds updates: 0 successful, 0 rejected"),
    (replace(READY, lds_success=0, lds_rejected=2), "config received from XDS server, but was rejected: cds updates: "
     "1 successful, 0 rejected; lds updates: 0 successful, 2 rejected"),
    (replace(READY, server_state=2), "server is not live, current state is: PRE_INITIALIZING"),
    (replace(READY, workers_started=0), "workers have not yet started"),
]  # fmt: skip


@pytest.mark.parametrize(("observed", "reason"), CASES)
def test_reasons(observed: Observed, reason: str | None) -> None:
    assert Readiness().reason(observed) == reason


def test_once_ready_stays_ready_until_terminated() -> None:
    readiness = Readiness()
    assert readiness.reason(READY) is None
    assert readiness.reason(Observed()) is None
    readiness.terminate()
    assert readiness.reason(READY) == "server is terminated"


def test_envoys_stats() -> None:
    text = (
        "cluster_manager.cds.update_rejected: 1\ncluster_manager.cds.update_success: 2\n"
        "listener_manager.lds.update_rejected: 3\nlistener_manager.lds.update_success: 4\n"
        "listener_manager.workers_started: 1\nserver.state: 0\n"
    )
    assert read_stats(text) == Observed(2, 1, 4, 3, 0, 1)
    assert read_stats("nonsense") == Observed()
