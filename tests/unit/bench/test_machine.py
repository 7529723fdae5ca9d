"""CPU split and what /proc says."""

from __future__ import annotations

import os

import pytest

from bench.machine import Pinning, cpu_seconds, description, memory_kib, pinning
from bench.ports import free_ports


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ({0}, Pinning(set(), set(), set(), set())),
        ({0, 1}, Pinning({1}, {1}, {0}, {0})),
        ({2, 5, 7}, Pinning({7}, {7}, {2}, {2})),
        ({0, 1, 2, 3}, Pinning({3}, {2}, {0}, {1})),
    ],
)
def test_sidecars_never_share_a_cpu_with_what_surrounds_them(cpus: set[int], expected: Pinning) -> None:
    assert pinning(cpus) == expected


def test_own_process_has_cpu_time_and_memory() -> None:
    assert cpu_seconds(os.getpid()) > 0
    memory = memory_kib(os.getpid())
    assert memory["rss"] >= memory["pss"] > 1000
    assert description()["cpus"] >= 1  # type: ignore[operator]


def test_ports_are_never_given_twice() -> None:
    ports = free_ports(50) + free_ports(50)
    assert len(set(ports)) == 100
    assert all(port < 32768 for port in ports)
