"""The API in this process, as a client of it sees it."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from control.api.admission import Admission
from control.api.server import make_app
from control.api.tokens import SignedToken
from control.resources import KINDS
from control.store.sqlite import SqliteStore

ADMIN = "admin-token"


class PlainSigner:
    """Tokens anyone could forge: the subject itself."""

    def sign(
        self, namespace: str, service_account: str, audiences: Sequence[str], seconds: int
    ) -> SignedToken:
        return SignedToken(
            f"system:serviceaccount:{namespace}:{service_account}", f"{'+'.join(audiences)} {seconds}"
        )

    def verify(self, token: str) -> str | None:
        return token if token.startswith("system:serviceaccount:") else None


class Api:
    """Requests with the administrator's token; answers as (status, JSON)."""

    def __init__(self, client: TestClient, store: SqliteStore) -> None:
        self.client = client
        self.store = store
        self.warnings: list[str] = []

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        type: str = "application/json",
        token: str = ADMIN,
        **headers: str,
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {token}", "Content-Type": type, **headers}
        async with self.client.request(method, path, data=data, headers=sent) as answer:
            self.warnings = answer.headers.getall("Warning", [])
            text = await answer.text()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text

    async def until(self, path: str, holds: Callable[[int, Any], bool]) -> Any:
        """Ask until a condition holds, five seconds at most."""
        async with asyncio.timeout(5):
            while True:
                code, body = await self("GET", path)
                if holds(code, body):
                    return body
                await asyncio.sleep(0.005)


@pytest.fixture
def admission() -> Admission:
    return Admission()


@pytest.fixture
async def api(admission: Admission) -> AsyncIterator[Api]:
    store = SqliteStore(None, bookmark_seconds=0.05)
    app = make_app(store, KINDS, admin_token=ADMIN, admission=admission, token_signer=PlainSigner())
    async with TestClient(TestServer(app)) as client:
        yield Api(client, store)
    store.close()


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def config_map(name: str = "c", **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **parts}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "i:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": containers, **spec},
    }


@pytest.fixture
def make() -> Any:
    """Manifests to start from: `make.deployment`, `make.config_map`, `make.pod`."""
    return types.SimpleNamespace(deployment=deployment, config_map=config_map, pod=pod)
