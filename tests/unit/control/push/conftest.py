"""A discovery server over fixed snapshots, and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from control.push.static import StaticXds

Json = dict[str, Any]


class Client:
    """Asks as a proxy would."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session, self._base = session, base

    async def post(self, kind: str, **fields: Any) -> tuple[int, Json]:
        url = f"{self._base}/v3/discovery:{kind}"
        async with self._session.post(url, json={"node": {"id": "node"}, **fields}) as answer:
            body = await answer.json() if answer.status == 200 else {"text": await answer.text()}
            return answer.status, body


@pytest.fixture
async def xds() -> AsyncIterator[StaticXds]:
    server = StaticXds(hold_seconds=0.2)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(xds: StaticXds) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"http://127.0.0.1:{xds.port}")
