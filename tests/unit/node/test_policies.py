"""Small policies: restarts, probes' thresholds, id maps, run state."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import run_state
from node.identity_map import NoSubordinateRange, Range, map_command, subordinate_range
from node.network import POD_NETWORK, Addresses, link_name
from node.probe_state import ProbeState, settings
from node.restart import BackOff, should_restart


def test_back_off_doubles_to_its_cap_and_is_forgotten() -> None:
    back_off = BackOff()
    assert [back_off.delay(1) for _ in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]
    assert back_off.delay(601) == 0
    assert back_off.delay(1) == 10


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 1, False),
    ],
)
def test_should_restart(policy: str, code: int, again: bool) -> None:
    assert should_restart(policy, code) is again


def test_probe_thresholds_count_in_a_row() -> None:
    state = ProbeState(settings({"failureThreshold": 3, "successThreshold": 2}))
    answers = [True, True, False, False, True, False, False, False, True, True]
    verdicts = [None, True, True, True, True, True, True, False, False, True]
    assert [state.observe(answer) for answer in answers] == verdicts


def test_probe_defaults_and_zero() -> None:
    numbers = settings({"periodSeconds": 0})
    assert (numbers.period, numbers.timeout, numbers.success_threshold, numbers.failure_threshold) == (
        10,
        1,
        1,
        3,
    )


LINES = ["root:100000:65536", "# note", "ann:1000:10", "ann:300000:65536", "1007:500000:70000"]


@pytest.mark.parametrize(
    ("user", "uid", "found"), [("ann", 1006, Range(300000, 65536)), ("bob", 1007, Range(500000, 70000))]
)
def test_subordinate_range(user: str, uid: int, found: Range) -> None:
    assert subordinate_range(LINES, user, uid, "/etc/subuid") == found


def test_without_subordinate_range_says_what_to_do() -> None:
    with pytest.raises(NoSubordinateRange, match="usermod --add-subuids"):
        subordinate_range(LINES, "eve", 1008, "/etc/subuid")


def test_map_command_covers_1337_and_1000() -> None:
    command = map_command("newuidmap", 77, 1006, Range(300000, 65536))
    assert command == ["newuidmap", "77", "0", "1006", "1", "1", "300000", "65535"]


@given(st.lists(st.booleans(), max_size=60))
def test_addresses_are_never_given_twice(steps: list[bool]) -> None:
    addresses, held = Addresses(), []
    for take in steps:
        if take:
            held.append(addresses.take())
        elif held:
            addresses.give_back(held.pop(0))
    assert len(set(held)) == len(held)
    assert len({link_name(address) for address in held}) == len(held)


def test_an_address_given_back_is_not_the_next() -> None:
    addresses = Addresses()
    first = addresses.take()
    addresses.give_back(first)
    assert addresses.take() != first
    assert first == str(POD_NETWORK[10])


def test_run_state_survives_and_knows_a_stranger(tmp_path: Path) -> None:
    start_time = run_state.start_time(os.getpid())
    assert start_time is not None
    run = run_state.RunState(os.getpid(), start_time, run_state.boot_id(), 1, 2, True)
    run_state.write(tmp_path, run)
    assert run_state.read(tmp_path) == run
    assert run.alive
    stranger = run_state.RunState(os.getpid(), start_time - 1, run_state.boot_id(), 1, 2, True)
    assert not stranger.alive
    run_state.remove(tmp_path)
    assert run_state.read(tmp_path) is None


def test_damaged_run_state_is_none(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    run_state.path_in(tmp_path).write_text('{"pid": 1')
    assert run_state.read(tmp_path) is None
