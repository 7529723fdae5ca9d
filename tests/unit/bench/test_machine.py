"""CPU split and what /proc says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from bench import machine
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


def test_threads_and_helper_processes_count_as_well() -> None:
    code = "import os, time\nif os.fork():\n    time.sleep(60)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        try:
            while len(machine.family(parent.pid)) < 2 or cpu_seconds(parent.pid) < 0.1:
                assert parent.poll() is None
            (_, helper) = machine.family(parent.pid)
            assert cpu_seconds(helper) > cpu_seconds(parent.pid) / 2
            assert memory_kib(parent.pid)["rss"] > memory_kib(helper)["rss"]
            assert sum(machine.user_and_system(parent.pid)) > 0
        finally:
            os.kill(helper, signal.SIGKILL)
            parent.kill()


def test_ports_are_never_given_twice() -> None:
    ports = free_ports(50) + free_ports(50)
    assert len(set(ports)) == 100
    assert all(port < 32768 for port in ports)
