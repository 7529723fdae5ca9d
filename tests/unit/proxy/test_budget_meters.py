"""The meters of the budgets count what they say, and charge nobody else's code."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType

from tests.unit.proxy import budget_meters

SIZE = 100_000


def _inside(function: Callable[[], object]) -> Callable[[], object]:
    """The function as if it were in a file of the sidecar."""
    assert isinstance(function, FunctionType)
    code = function.__code__.replace(co_filename="/x/proxy/some/file.py")
    return FunctionType(code, function.__globals__, function.__name__, None, function.__closure__)


def test_calls_are_counted_by_function() -> None:
    called = _inside(lambda: None)
    outside = [0]

    def run() -> None:
        called()
        called()
        outside.append(len(outside))

    found = budget_meters.calls(run)
    assert dict(found) == {"some/file.py:<lambda>": 2}
    assert dict(budget_meters.files(found)) == {"some/file.py": 2}


def test_every_large_object_is_counted_though_it_is_gone() -> None:
    data = b"x" * SIZE

    def copy() -> None:
        for _ in range(3):
            _ = data + b"y"
        b"".join([data, data])

    found = budget_meters.large_allocations(_inside(copy), 4096)
    assert 5 * SIZE <= found["some/file.py:copy"] <= 5.1 * SIZE


def test_views_and_small_objects_are_not_copies() -> None:
    data = b"x" * SIZE

    def look() -> None:
        view = memoryview(data)[10:]
        bytes(view[:100])

    assert budget_meters.large_allocations(_inside(look), 4096).total() == 0


def test_blocks_are_counted_in_the_sidecar_only() -> None:
    kept: list[object] = []

    def take() -> None:
        kept.append(object())
        kept.append(object())

    assert budget_meters.blocks(_inside(take))["some/file.py:take"] in range(2, 4)
    assert budget_meters.blocks(take).total() == 0
