"""Runs all scenarios through two implementations at once and judges every one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench.children import Children
from bench.peers import envoy, glassmesh
from bench.peers.peer import Peer
from bench.pki import Authority, spiffe_id
from tests.differential.case import run as case_run
from tests.differential.case.model import Case, Json
from tests.differential.compare import Verdict, judge, normalised
from tests.differential.known import find
from tests.differential.scenario import Scenario
from tests.differential.side import Secrets, Side, Spoil

PEERS: dict[str, Peer] = {"envoy": envoy.PEER, "ours": glassmesh.PEER}
# Envoy writes its log file once a second by default; the comparison reads it at the end.
EXTRA_ARGUMENTS = {"envoy": ["--file-flush-interval-msec", "50"], "ours": []}


def command(peer: str, bootstrap: Path) -> list[str]:
    make = PEERS[peer].command
    assert make is not None
    argv = make(bootstrap)
    if peer == "envoy":
        at = argv.index("--file-flush-interval-msec")
        argv[at : at + 2] = EXTRA_ARGUMENTS[peer]
    return argv


async def _compare(
    scenarios: list[Scenario], judged: str, spoil: Spoil, directory: Path, children: Children
) -> list[Verdict]:
    authority = Authority()
    secrets: Secrets = {
        "client": authority.secrets(spiffe_id("default", "client")),
        "server": authority.secrets(spiffe_id("default", "app")),
    }
    sides = []
    for name, peer in (("reference", "envoy"), ("judged", judged)):
        place = directory / name
        place.mkdir()
        side = Side(name, lambda file, peer=peer: command(peer, file), place, children)
        await side.start(scenarios, secrets, spoil if name == "judged" else _as_it_is)
        sides.append(side)
    reference, other = await asyncio.gather(*(side.run(secrets) for side in sides))
    verdicts = []
    for placed in sides[0].placed:
        key = f"{placed.scenario.name}.{placed.at}"
        left = normalised(reference[key], placed.scenario, sides[0].symbols)
        right = normalised(other[key], placed.scenario, sides[1].symbols)
        verdicts.append(judge(key, left, right))
    return verdicts


def _as_it_is(snapshots: dict[str, Any]) -> None:
    """No change to the configuration."""


def compare(scenarios: list[Scenario], judged: str = "ours", spoil: Spoil = _as_it_is) -> list[Verdict]:
    """Verdicts in the scenarios' order; `judged` may be `envoy`, which proves that the comparison is not chance.

    As with cases, scenarios that differ without a known reason are run once more by themselves.
    """
    verdicts = _verdicts(scenarios, judged, spoil)
    different = {
        verdict.name for verdict in verdicts if verdict.word == "different" and find(verdict.name) is None
    }
    doubtful = [one for one in scenarios if any(f"{one.name}.{at}" in different for at in one.at)]
    if not doubtful:
        return verdicts
    again = {verdict.name: verdict for verdict in _verdicts(doubtful, judged, spoil)}
    return [
        _settled(verdict, again[verdict.name]) if verdict.name in different else verdict
        for verdict in verdicts
    ]


def _settled(first: Verdict, second: Verdict) -> Verdict:
    return second if second.word == "different" else case_run.once(first, second)


def _verdicts(scenarios: list[Scenario], judged: str, spoil: Spoil) -> list[Verdict]:
    with tempfile.TemporaryDirectory(prefix="glassmesh-differential-") as directory:
        place = Path(directory)
        with Children(place) as children:
            return asyncio.run(_compare(scenarios, judged, spoil, place, children))


def compare_cases(
    cases: list[Case],
    judged: str = "ours",
    *,
    reference: str = "envoy",
    spoil: Callable[[list[Json]], None] | None = None,
) -> list[Verdict]:
    """Verdicts on cases of `cases/*.yaml`, in their order."""
    return case_run.compare(cases, *(partial(command, peer) for peer in (reference, judged)), spoil=spoil)
