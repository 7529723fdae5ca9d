"""What a command line chooses: workloads, peers, and what it says of those it does not know or cannot have."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from bench import __main__ as command
from bench.peers import PEERS
from bench.workloads import WORKLOADS


def test_everything_is_chosen_without_a_choice() -> None:
    workloads, scale = command.chosen_workloads(None, quick=False)
    assert workloads == WORKLOADS
    assert scale


def test_a_quick_run_has_the_chief_workloads_only() -> None:
    workloads, scale = command.chosen_workloads(None, quick=True)
    assert {"istio", "saturation_16"} <= {one.name for one in workloads}
    assert len(workloads) < 6
    assert not scale


def test_chosen_by_name_they_keep_their_order_even_in_a_quick_run() -> None:
    workloads, scale = command.chosen_workloads("mirror, istio,scale", quick=True)
    assert [one.name for one in workloads] == ["istio", "mirror"]
    assert scale


@pytest.mark.parametrize(
    ("only", "peers", "told"), [("istio,nonsense", None, "nonsense"), (None, "squid", "squid")]
)
def test_what_is_not_there_is_named(only: str | None, peers: str | None, told: str) -> None:
    with pytest.raises(SystemExit, match=told):
        command.chosen_peers(peers, command.chosen_workloads(only, quick=False)[0])


def test_a_peer_that_is_not_installed_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [
        dataclasses.replace(peer, unavailable=lambda: "not here") for peer in PEERS if peer.name == "nginx"
    ]
    monkeypatch.setattr(command, "PEERS", [*(peer for peer in PEERS if peer.name == "direct"), *absent])
    found, missing = command.chosen_peers(None, WORKLOADS)
    assert [peer.name for peer in found] == ["direct"]
    assert missing == {"nginx": "not here"}


def test_peers_that_no_workload_wants_are_neither_started_nor_missed() -> None:
    found, missing = command.chosen_peers(None, command.chosen_workloads("mirror", quick=False)[0])
    assert [peer.name for peer in found] == ["envoy", "glassmesh"]
    assert missing == {}


def test_configuration_at_scale_that_fails_leaves_the_other_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise TimeoutError("not within 300 s")

    monkeypatch.setattr(command.scaled, "measure", failing)
    missing: dict[str, str] = {}
    assert command.configuration_at_scale(tmp_path, print, missing) is None
    assert missing == {"scale": "not within 300 s"}


def test_workloads_of_a_scene_follow_each_other_and_names_are_their_own() -> None:
    runs = [scene for scene, _ in itertools.groupby(WORKLOADS, lambda one: one.scene.name)]
    assert len(set(runs)) == len(runs)
    assert len({one.name for one in WORKLOADS}) == len(WORKLOADS)
    sections = [section for section, _ in itertools.groupby(WORKLOADS, lambda one: one.section)]
    assert len(set(sections)) == len(sections)


def test_every_peer_a_workload_names_is_there_and_stands_on_its_ground() -> None:
    own = {peer.name for peer in PEERS if peer.configure}
    for workload in WORKLOADS:
        assert set(workload.peers) <= {peer.name for peer in PEERS}
        assert workload.scene.own or not own & set(workload.peers)
