"""Every scenario through real Envoy and ours, as one run whose verdicts are then asked one by one."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from bench.peers import envoy
from tests.differential.compare import Verdict
from tests.differential.known import find
from tests.differential.run import compare
from tests.differential.scenarios import SCENARIOS

pytestmark = [
    pytest.mark.envoy,
    pytest.mark.skipif(envoy.binary() is None and shutil.which("envoy") is None, reason="no envoy binary"),
]


def parameter(name: str) -> Any:
    known = find(name)
    marks = (
        [pytest.mark.xfail(strict=known.always, reason=known.reason, raises=AssertionError)] if known else []
    )
    return pytest.param(name, marks=marks, id=name)


CASES = [parameter(f"{scenario.name}.{at}") for scenario in SCENARIOS for at in scenario.at]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in compare(SCENARIOS)}


@pytest.mark.parametrize("name", CASES)
def test_ours_does_as_envoy(name: str, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[name]
    assert verdict.word != "different", "\n".join(map(str, verdict.differences))


def _spoil(snapshots: dict[str, Any]) -> None:
    """Another server name in the client sidecar: a difference of one header value."""
    for snapshot in snapshots.values():
        for listener in snapshot["listeners"]:
            for chain in [*listener["filter_chains"], listener.get("default_filter_chain", {"filters": []})]:
                for network_filter in chain["filters"]:
                    if "server_name" in network_filter["typed_config"]:
                        network_filter["typed_config"]["server_name"] = "spoiled"


def test_a_seeded_difference_is_found() -> None:
    chosen = [scenario for scenario in SCENARIOS if scenario.name == "method-get"]
    found = compare(chosen, "envoy", spoil=_spoil)
    assert [verdict.word for verdict in found] == ["different"] * 3
    assert (
        str(found[0].differences[0]) == "client.0.headers: Envoy ['server: envoy'], ours ['server: spoiled']"
    )
