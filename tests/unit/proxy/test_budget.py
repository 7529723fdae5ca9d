"""What one proxied request may cost: what makes the sidecar fast is kept by counting, not by feeling.

Every figure is exact, and may only shrink. `python -m tests.unit.proxy.test_budget` prints them as they are now and records the
tables by which a failure tells what grew.
"""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest

from tests.unit.proxy import budget, budget_meters

# Python calls into this package for one request and its response, from readable socket to sent answer. Some 30 of `client` and
# `server` are one for each value of a log line, which are cheap once compiled.
CALLS = {"plain": 89, "client": 126, "server": 128}
# Source files whose code runs for it.
FILES = {"plain": 31, "client": 38, "server": 39}
# Blocks taken from the allocator. What 3.11 lets be seen is less: where a frame of the trace goes, a block that comes is hidden.
BLOCKS = {
    (3, 11): {"plain": 85, "client": 102, "server": 106},
    (3, 12): {"plain": 148, "client": 171, "server": 177},
    (3, 13): {"plain": 149, "client": 172, "server": 177},
}
_VERSION = min(sys.version_info[:2], max(BLOCKS))
CONFIGURATIONS = ("plain", "client", "server")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_calls_per_request(configuration: str) -> None:
    with budget.exchange(configuration) as exchange:
        found = budget_meters.calls(exchange)
    assert found.total() <= CALLS[configuration], budget.growth(f"calls {configuration}", found)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_files_visited_per_request(configuration: str) -> None:
    with budget.exchange(configuration) as exchange:
        found = budget_meters.files(budget_meters.calls(exchange))
    assert len(found) <= FILES[configuration], (
        f"{len(found)} files, {FILES[configuration]} are allowed\n"
        + budget.growth(f"files {configuration}", found)
    )


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_blocks_allocated_per_request(configuration: str) -> None:
    with budget.exchange(configuration) as exchange:
        found = budget_meters.blocks(exchange)
    limit = BLOCKS[_VERSION][configuration]
    assert found.total() <= limit, budget.growth(_blocks(configuration), found)


def test_features_of_other_routes_cost_a_request_nothing() -> None:
    found = []
    for configuration in ("beside a route", "beside features"):
        with budget.exchange(configuration) as exchange:
            found.append(budget_meters.calls(exchange))
    assert found[0] == found[1]


def _blocks(configuration: str) -> str:
    """The name of the table, which each version of Python has for itself."""
    return f"blocks {configuration}, {'.'.join(map(str, _VERSION))}"


def record() -> None:
    """Print every figure and write the tables."""
    tables: dict[str, Counter[str]] = {}
    for configuration in CONFIGURATIONS:
        with budget.exchange(configuration) as exchange:
            called = budget_meters.calls(exchange)
            tables[f"calls {configuration}"] = called
            tables[f"files {configuration}"] = budget_meters.files(called)
            tables[_blocks(configuration)] = budget_meters.blocks(exchange)
        print(
            f"{configuration}: {called.total()} calls, {len(tables[f'files {configuration}'])} files,"
            f" {tables[_blocks(configuration)].total()} blocks"
        )
    known = {name: table for name, table in json.loads(budget.RECORDED.read_text()).items() if "," in name}
    ordered = {name: dict(sorted(table.items())) for name, table in sorted((known | tables).items())}
    budget.RECORDED.write_text(json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    record()
