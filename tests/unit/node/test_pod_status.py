"""A pod's phase and conditions from its containers' states."""

from __future__ import annotations

from typing import Any

import pytest

from node.container_state import ContainerRecord
from node.pod_status import Facts, build, phase

T0, T1 = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"


def waiting() -> ContainerRecord:
    return ContainerRecord("c", "image")


def running(ready: bool = True) -> ContainerRecord:
    record = waiting()
    record.run(7, T0)
    record.started = record.ready = ready
    return record


def ended(code: int) -> ContainerRecord:
    record = running()
    record.terminate(code, T1)
    return record


def facts(*containers: ContainerRecord, inits: tuple[ContainerRecord, ...] = (), **more: Any) -> Facts:
    given = {
        "sidecars": frozenset(),
        "restart_policy": "Always",
        "pod_ip": "10.244.0.9",
        "host_ip": "10.244.0.1",
        "start_time": T0,
    }
    return Facts(inits=inits, containers=containers, **(given | more))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (facts(waiting()), "Pending"),
        (facts(running(), waiting()), "Pending"),
        (facts(running()), "Running"),
        (facts(running(ready=False)), "Running"),
        (facts(ended(1)), "Running"),
        (facts(running(), inits=(running(),)), "Pending"),
        (facts(waiting(), inits=(ended(1),)), "Pending"),
        (facts(waiting(), inits=(ended(1),), restart_policy="Never"), "Failed"),
        (facts(running(), inits=(ended(0),)), "Running"),
        (facts(ended(0), restart_policy="Never"), "Succeeded"),
        (facts(ended(0), ended(2), restart_policy="Never"), "Failed"),
        (facts(ended(0), ended(2), restart_policy="OnFailure"), "Running"),
        (facts(ended(0), restart_policy="OnFailure"), "Succeeded"),
        (facts(ended(0), running(), restart_policy="Never"), "Running"),
    ],
)
def test_phase(given: Facts, expected: str) -> None:
    assert phase(given) == expected


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in status["conditions"]}


def test_ready_needs_every_container() -> None:
    assert conditions(build(facts(running(), running()), {}, T0))["Ready"] == "True"
    status = build(facts(running(), running(ready=False)), {}, T0)
    assert conditions(status) == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == (
        "ContainersNotReady",
        "containers with unready status: [c]",
    )


def test_conditions_keep_the_time_of_their_change() -> None:
    first = build(facts(running(ready=False)), {}, T0)
    second = build(facts(running()), first, T1)
    times = {c["type"]: c["lastTransitionTime"] for c in second["conditions"]}
    assert times == {
        "PodReadyToStartContainers": T0,
        "Initialized": T0,
        "Ready": T1,
        "ContainersReady": T1,
        "PodScheduled": T0,
    }


def test_a_native_sidecar_counts_as_container() -> None:
    sidecar = running(ready=False)
    sidecar.started = True
    given = facts(running(), inits=(sidecar,), sidecars=frozenset({"c"}))
    assert given.initialized
    assert conditions(build(given, {}, T0))["Ready"] == "False"


def test_states_of_a_container_that_crashed() -> None:
    record = running()
    record.terminate(137, T1)
    record.wait("CrashLoopBackOff", "back-off")
    status = record.status()
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    ended = {"exitCode": 137, "reason": "Error", "signal": 9, "startedAt": T0, "finishedAt": T1}
    assert status["lastState"] == {"terminated": ended}
    assert (status["ready"], status["started"], status["restartCount"]) == (False, False, 0)
    record.run(8, T1)
    assert record.status()["restartCount"] == 1
