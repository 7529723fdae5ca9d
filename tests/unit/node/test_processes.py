"""Starting, ending and reaping processes, and what a container's start says when it fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from node import runtime
from node.processes import CommandFailed, Processes


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    made = Processes(asyncio.get_running_loop())
    yield made
    made.close()


async def test_run_gives_input_and_takes_all_output(processes: Processes) -> None:
    result = await processes.run(["sh", "-c", "cat; echo err >&2; exit 3"], "given\n" * 50_000)
    assert result.status == 3
    assert len(result.output) == 6 * 50_000 + 4


async def test_run_kills_what_takes_too_long(processes: Processes) -> None:
    assert (await processes.run(["sleep", "60"], seconds=0.05)).status == 128 + signal.SIGKILL


async def test_run_of_nothing(processes: Processes) -> None:
    assert (await processes.run(["/no/such/program"])).status == 127


async def test_check_names_command_and_output(processes: Processes) -> None:
    with pytest.raises(CommandFailed, match="sh -c echo why; exit 1: why"):
        await processes.check(["sh", "-c", "echo why; exit 1"])


async def test_many_children_each_hear_their_own_end(processes: Processes) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    fds = {0: nothing, 1: nothing, 2: nothing}
    children = [processes.spawn(["sh", "-c", f"exit {n}"], {}, fds) for n in range(20)]
    assert await asyncio.gather(*(child.wait() for child in children)) == list(range(20))
    os.close(nothing)


async def test_a_group_ends_with_its_leader_s_signal(processes: Processes) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    child = processes.spawn(["sh", "-c", "sleep 60 & wait"], os.environ, {0: nothing, 1: nothing, 2: nothing})
    child.signal_group(signal.SIGKILL)
    assert await child.wait() == 137
    child.signal_group(signal.SIGKILL)  # of one that ended: nothing
    os.close(nothing)


async def test_a_container_that_cannot_start_says_why(processes: Processes) -> None:
    """The shim's error comes back; here because there is no such network namespace."""
    document: dict[str, Any] = {
        "argv": ["true"],
        "network": "/no/such/network",
        "hostname": "h",
        "mounts": [],
    }
    begun: list[object] = []
    output = os.open(os.devnull, os.O_WRONLY)
    try:
        with pytest.raises(
            runtime.StartError, match="failed to start 'true': No such file or directory: /no/such/network"
        ):
            await runtime.start(processes, document, output, begun.append)
    finally:
        os.close(output)
    assert len(begun) == 1
