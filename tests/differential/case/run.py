"""Runs cases through two implementations, one after the other on the same addresses, and judges every one."""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.children import Children
from bench.pki import Authority, spiffe_id
from bench.ports import free_ports
from control.push.static import StaticXds
from tests.differential.case.expect import unmet
from tests.differential.case.group import Group, groups, invalid
from tests.differential.case.model import Case, Json
from tests.differential.case.observe import comparable
from tests.differential.case.side import Side, Spoil
from tests.differential.compare import Difference, Verdict, judge

APP_PORT = 10801
"""Where pods listen if nobody else does there: hashes of addresses then fall the same way in every run."""


HOLD_S = 50.0
"""How long a poll is held: a thousand subscriptions asking anew in the midst of a run would disturb its times."""
Command = Callable[[Path], list[str]]
"""The argv of an implementation, for a bootstrap file."""


def _as_it_is(messages: list[Json]) -> None:
    """No change to the configuration."""


class _Port:
    """The pods' port, kept from other runs on this machine for as long as ours lasts."""

    def __enter__(self) -> int:
        for number in (APP_PORT, *free_ports(5, "0.0.0.0")):
            self._socket = socket.socket()
            try:
                self._socket.bind(("0.0.0.0", number))
            except OSError:
                self._socket.close()
                continue
            # From now on pods may bind it on addresses of theirs, and another run cannot.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return number
        raise OSError("no free port for the pods")

    def __exit__(self, *_: object) -> None:
        self._socket.close()


async def _run(
    cases: list[Case],
    sides: dict[str, tuple[Command, Spoil]],
    app_port: int,
    directory: Path,
    children: Children,
) -> list[dict[str, tuple[Json, Json]]]:
    """For each side, by case: what is compared, and which expectations were not met."""
    xds = StaticXds(HOLD_S)
    await xds.start()
    found = []
    placed = groups(cases, app_port)
    secrets = Authority().secrets(spiffe_id("default", "app"))
    try:
        for name, (command, spoil) in sides.items():
            side = Side(name, command, directory, children, xds, secrets, spoil)
            found.append(await _side(side, placed))
    finally:
        await xds.stop()
    return found


async def _side(side: Side, placed: list[Group]) -> dict[str, tuple[Json, Json]]:
    """A group that does not start fails its cases, and no others."""
    try:
        failed = await side.start(placed)
        running = [group for group in placed if group.name not in failed]
        found = _reduced(running, await side.run(running), side.symbols)
    finally:
        await side.stop()
    for group in placed:
        if group.name in failed:
            found |= {one.name: ({}, {"a sidecar that starts": failed[group.name]}) for one in group.placed}
    return found


def _reduced(
    placed: list[Group], seen: dict[str, Json], symbols: dict[int, str]
) -> dict[str, tuple[Json, Json]]:
    return {
        one.name: (comparable(one, seen[one.name], symbols), unmet(one, seen[one.name]))
        for group in placed
        for one in group.placed
    }


def compare(
    cases: list[Case], reference: Command, judged: Command, spoil: Spoil | None = None
) -> list[Verdict]:
    """Verdicts in the order of cases. `spoil` changes what the judged side is configured with.

    A case whose manifests the control plane refuses is different for this reason.

    Cases that differ are run once more, by themselves: where timers meet, a busy machine decides who comes first. What only the first
    of the two runs showed is allowed, and said.
    """
    sides = {"reference": (reference, _as_it_is), "judged": (judged, spoil or _as_it_is)}
    refused = invalid(cases)
    verdicts = _verdicts([case for case in cases if case.name not in refused], sides)
    doubtful = [case for case in cases if case.name in verdicts and verdicts[case.name].word == "different"]
    if doubtful:
        for name, second in _verdicts(doubtful, sides).items():
            verdicts[name] = second if second.word == "different" else once(verdicts[name], second)
    for name, why in refused.items():
        verdicts[name] = Verdict(name, "different", (Difference("manifests", why, why),))
    return [verdicts[case.name] for case in cases]


def _verdicts(cases: list[Case], sides: dict[str, tuple[Command, Spoil]]) -> dict[str, Verdict]:
    with (
        tempfile.TemporaryDirectory(prefix="glassmesh-differential-") as directory,
        _Port() as port,
        Children(Path(directory)) as children,
    ):
        first, second = asyncio.run(_run(cases, sides, port, Path(directory), children))
    return {case.name: _verdict(case.name, first[case.name], second[case.name]) for case in cases}


def once(first: Verdict, second: Verdict) -> Verdict:
    """The second verdict, with what only the first run showed; times are no news."""
    told = [
        d
        for d in first.differences
        if not re.fullmatch(r"client\.\d+\.took|expected request \d+: took .*", d.where)
    ]
    if not told:
        return second
    return replace(second, word="allowed", reasons=(*second.reasons, f"in one of two runs: {told[0]}"))


def _verdict(name: str, reference: tuple[Json, Json], judged: tuple[Json, Json]) -> Verdict:
    """Different also where both failed to do what the case expects."""
    verdict = judge(name, reference[0], judged[0])
    failed = tuple(
        Difference(
            f"expected {what}", reference[1].get(what, "as expected"), judged[1].get(what, "as expected")
        )
        for what in reference[1] | judged[1]
    )
    if not failed:
        return verdict
    return replace(verdict, word="different", differences=(*failed, *verdict.differences))
