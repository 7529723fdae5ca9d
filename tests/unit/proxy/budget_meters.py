"""Counts of what one run of a function costs inside the sidecar: calls, memory blocks, large allocations; by function.

Only code under proxy/ is charged; the fakes around it are not. The last two look at the allocator between any two bytecodes,
which makes a run slow and the figures exact: what a single bytecode (or C function) both takes and gives back is seen by
`large_allocations`, which reads the peak, and not by `blocks`.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

Run = Callable[[], object]
_OUTSIDE = ""


def _place(code: CodeType) -> str:
    """`file:function` of code of the sidecar, else `_OUTSIDE`."""
    before, found, path = code.co_filename.rpartition("/proxy/")
    if found and not before.endswith("/unit"):
        return f"{path}:{code.co_name}"
    return _OUTSIDE


def calls(run: Run) -> Counter[str]:
    """Calls of functions written in Python; a coroutine that goes on counts as called again."""
    found: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (place := _place(frame.f_code)):
            found[place] += 1

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found


def files(called: Counter[str]) -> Counter[str]:
    """Calls by source file."""
    found: Counter[str] = Counter()
    for place, count in called.items():
        if not place.startswith("<"):
            found[place.partition(":")[0]] += count
    return found


class _Allocations:
    """Charges the function at work, before each bytecode, with what was allocated since the one before.

    `read` returns how much that was. Python 3.11 makes a frame object for each call it traces, `per_call` of what `read` counts.
    """

    def __init__(self, read: Callable[[], int], per_call: int) -> None:
        self._read = read
        self._per_call = per_call
        self._place = _OUTSIDE
        self._places: dict[CodeType, str] = {}
        self.found: Counter[str] = Counter()

    def of(self, run: Run) -> Counter[str]:
        gc.collect()  # empties the free lists, too
        gc.disable()
        try:
            (self._monitored if sys.version_info >= (3, 12) else self._traced)(run)
        finally:
            gc.enable()
        return self.found

    def _step(self, code: CodeType, overhead: int = 0) -> None:
        grown = self._read() - overhead
        if grown > 0 and self._place:
            self.found[self._place] += grown
        place = self._places.get(code)
        if place is None:
            place = self._places[code] = _place(code)
            grown = 1
        self._place = place
        if grown:
            self._read()  # what was taken here is nobody's

    def _traced(self, run: Run) -> None:
        sys.settrace(self)
        try:
            run()
        finally:
            sys.settrace(None)

    def __call__(self, frame: FrameType, event: str, _: Any) -> _Allocations:
        """The trace function, which holds on to nothing: coroutines keep it."""
        if event == "call":
            frame.f_trace_opcodes = True
        self._step(frame.f_code, self._per_call if event == "call" else 0)
        return self

    def _monitored(self, run: Run) -> None:
        monitoring = sys.monitoring
        tool, events = monitoring.PROFILER_ID, monitoring.events
        monitoring.use_tool_id(tool, "budget")
        monitoring.register_callback(tool, events.INSTRUCTION, lambda code, _: self._step(code))
        monitoring.set_events(tool, events.INSTRUCTION)
        try:
            run()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, events.INSTRUCTION, None)
            monitoring.free_tool_id(tool)


def _new_blocks() -> Callable[[], int]:
    before = 0

    def read() -> int:
        nonlocal before
        grown = sys.getallocatedblocks() - before
        before += grown
        return grown

    return read


def blocks(run: Run, repeat: int = 4) -> Counter[str]:
    """Blocks of up to 512 bytes taken from CPython's allocator; what comes from a type's free list is not.

    The least of several runs, because which free lists are filled differs from run to run.
    """
    return min((_Allocations(_new_blocks(), 1).of(run) for _ in range(repeat)), key=Counter.total)


def large_allocations(run: Run, least: int) -> Counter[str]:
    """Bytes taken, in pieces of `least` and more."""
    base = 0

    def read() -> int:
        nonlocal base
        current, peak = tracemalloc.get_traced_memory()
        grown = peak - base
        tracemalloc.reset_peak()
        base = current
        return grown if grown >= least else 0

    tracemalloc.start()
    try:
        return _Allocations(read, 0).of(run)
    finally:
        tracemalloc.stop()
