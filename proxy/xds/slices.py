"""Work on configuration in slices, so that a big first snapshot holds up no request for long.

Time is an argument. Invariant: what is under way sees no other work of its kind in between; that is the caller's care.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.config.snapshot import Steps

SLICE_SECONDS = 0.02  # requests wait no longer than this and one step more


def run_slice(steps: Steps[None], now: Callable[[], float]) -> bool:
    """Go on with the work for one slice; whether that was all."""
    end = now() + SLICE_SECONDS
    return all(now() < end for _ in steps)


async def run_rest(steps: Steps[None], now: Callable[[], float]) -> None:
    """The rest of the work, with everything else the loop has to do in between."""
    done = False
    while not done:
        await asyncio.sleep(0)
        done = run_slice(steps, now)
