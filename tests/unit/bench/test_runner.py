"""The runner's parts that need no process: what a generator is told, and how the kernel's share is found."""

from __future__ import annotations

from typing import Any

import pytest

from bench import runner
from bench.load import Plan as Small
from bench.load_bodies import Plan as Bodies
from bench.load_connections import Plan as New
from bench.load_tls import Plan as Tls
from bench.peers import PEERS
from bench.sidecars import Pair
from bench.workloads import WORKLOADS

PLANS: dict[str, Any] = {
    "bench.load": Small,
    "bench.load_bodies": Bodies,
    "bench.load_connections": New,
    "bench.load_tls": Tls,
}
FILES = {"certificate": "c", "key": "k", "root": "r"}


def _pair(name: str) -> Pair:
    peer = next(peer for peer in PEERS if peer.name == name)
    return Pair(peer, 1001, 1002, 1003, FILES)


@pytest.mark.parametrize("workload", WORKLOADS, ids=[one.name for one in WORKLOADS])
def test_every_generator_understands_what_it_is_told(workload: Any) -> None:
    for name in workload.peers:
        plan = PLANS[workload.generator](**runner.arguments(_pair(name), workload, 0.5))
        assert plan.port == (1002 if workload.target == "server" else 1001)
        assert plan.seconds == workload.seconds / 2


def test_a_forward_proxy_is_asked_for_the_apps_address() -> None:
    workload = next(one for one in WORKLOADS if one.name == "one_hop")
    assert runner.arguments(_pair("proxy_py"), workload, 1)["path"] == "http://127.0.0.1:1003/"
    assert "path" not in runner.arguments(_pair("glassmesh"), workload, 1)


@pytest.mark.parametrize(("after", "share"), [((30, 20), 0.25), ((0, 15), 1.0), ((0, 10), 0.5)])
def test_the_kernels_share_of_the_ticks_between(after: tuple[int, int], share: float) -> None:
    before = {"client": (0, 10)}
    assert runner._kernel_shares(before, {"client": after}) == {"client": share}
