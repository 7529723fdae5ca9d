"""Configuration changes of cases that share a sidecar."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.differential.case.load import BadCase
from tests.differential.case.sidecar import Refused

GATHER_S = 0.05
"""How long a push waits for others."""


class Pushes:
    """Changes that cases make at about the same time go out together: each would else wait for all before it."""

    def __init__(self, offer: Callable[[], None], accepted: Callable[[], Awaitable[None]]) -> None:
        self._offer, self._accepted = offer, accepted
        self._waiting: list[asyncio.Future[str]] = []
        self._task: asyncio.Task[None] | None = None

    async def push(self) -> str:
        """Goes on when the sidecars have what the group holds now; why they refused it, or nothing."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await done

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            batch, self._waiting = self._waiting, []
            try:
                self._offer()
                await self._accepted()
                answer = ""
            except (Refused, BadCase) as error:
                answer = str(error)
            for done in batch:
                if not done.cancelled():
                    done.set_result(answer)
