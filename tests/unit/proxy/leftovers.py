"""What many runs leave behind: objects that are alive, blocks in use, cycles.

Counted with the garbage collector off, so that a cycle shows at once.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

# From 257 on, each number a counter holds is an object.
_WARM = 300
# Counters that stood still meanwhile may differ by one from run to run: no more after a longer run.
_BLOCKS = 8


class Leftovers(NamedTuple):
    """`alive`: by type. `cyclic`: how many objects only the garbage collector finds. `blocks`: of CPython's allocator."""

    alive: Counter[str]
    cyclic: int
    blocks: int

    def check(self, explain: Callable[[], str] = str) -> None:
        """Fails where there are any; `explain` says more of what is alive or in use."""
        assert self.cyclic == 0, f"{self.cyclic} objects in cycles, which only the garbage collector finds"
        assert not self.alive, f"still alive: {dict(self.alive)}\n{explain()}"
        assert self.blocks <= _BLOCKS, f"{self.blocks} blocks are still in use\n{explain()}"


def objects() -> Counter[str]:
    """What the collector knows, by type."""
    return Counter(type(one).__qualname__ for one in gc.get_objects())


def leftovers(run: Callable[[int], object], times: int) -> Leftovers:
    """Of `run(times)`, once warm."""
    objects()  # counting for the first time leaves something itself
    gc.collect()
    gc.disable()
    try:
        run(_WARM)
        before = objects()
        blocks = sys.getallocatedblocks()
        run(times)
        blocks = sys.getallocatedblocks() - blocks
        alive = objects() - before - Counter(["Counter"])  # `before` itself
        return Leftovers(alive, gc.collect(), blocks)
    finally:
        gc.enable()
