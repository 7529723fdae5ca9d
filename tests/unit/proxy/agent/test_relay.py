"""The relay for Envoy: secrets from memory as long polls, everything else passed on with the token."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from proxy.admin.http_server import Request
from proxy.agent.relay import SECRET_TYPE, Relay
from proxy.tls.secrets import SecretStore
from proxy.xds.http_client import HttpClient, HttpError, Response
from tests.unit.proxy.mesh_ca import MeshCa

ID = "spiffe://cluster.local/ns/default/sa/reviews"


class Upstream(HttpClient):
    def __init__(self, answer: Response | HttpError) -> None:
        super().__init__("istiod", 15012)
        self.given = answer
        self.asked: list[tuple[str, bytes]] = []

    async def request(self, method: str, path: str, body: bytes = b"", **_: Any) -> Response:
        self.asked.append((path, body))
        if isinstance(self.given, HttpError):
            raise self.given
        return self.given


def discovery(kind: str, **body: Any) -> Request:
    return Request("POST", f"/v3/discovery:{kind}", {}, "", {}, json.dumps(body).encode(), "127.0.0.1")


def relay(
    secrets: SecretStore, answer: Response | HttpError | None = None, hold: float = 5.0
) -> tuple[Relay, Upstream]:
    upstream = Upstream(answer or Response(200, {}, b"{}"))
    return Relay(secrets, lambda: upstream, hold), upstream


async def test_a_secret_is_awaited_answered_and_held(mesh_ca: MeshCa) -> None:
    clock = iter(range(1, 100))
    secrets = SecretStore(lambda: float(next(clock)))
    serving, upstream = relay(secrets)
    waiting = asyncio.create_task(serving.answer(discovery("secrets", resource_names=["default"])))
    await asyncio.sleep(0)
    chain, key = mesh_ca.issue(ID)
    secrets.set_validation("ROOTCA", mesh_ca.root_pem)
    assert not waiting.done()
    secrets.set_certificate("default", chain, key)
    first = json.loads((await waiting).body)
    assert first["type_url"] == SECRET_TYPE
    (resource,) = first["resources"]
    assert resource["tls_certificate"]["private_key"]["inline_string"] == key

    held = asyncio.create_task(
        serving.answer(discovery("secrets", resourceNames=["default"], versionInfo=first["version_info"]))
    )
    await asyncio.sleep(0)
    secrets.set_validation("ROOTCA", mesh_ca.root_pem)  # another secret is no news
    await asyncio.sleep(0)
    assert not held.done()
    secrets.set_certificate("default", *mesh_ca.issue(ID))
    assert json.loads((await held).body)["version_info"] != first["version_info"]
    assert upstream.asked == []


async def test_nothing_new_is_304(mesh_ca: MeshCa) -> None:
    secrets = SecretStore()
    serving, _ = relay(secrets, hold=0.01)
    assert (await serving.answer(discovery("secrets", resource_names=["default"]))).status == 304
    secrets.set_validation("ROOTCA", mesh_ca.root_pem)
    answer = json.loads((await serving.answer(discovery("secrets", resource_names=["ROOTCA"]))).body)
    roots = answer["resources"][0]["validation_context"]["trusted_ca"]["inline_string"]
    assert roots == mesh_ca.root_pem
    again = discovery("secrets", resource_names=["ROOTCA"], version_info=answer["version_info"])
    assert (await serving.answer(again)).status == 304


async def test_other_types_are_passed_on_unread() -> None:
    serving, upstream = relay(
        SecretStore(), Response(200, {"content-type": "application/json"}, b'{"version_info":"1"}')
    )
    request = discovery("clusters", version_info="0")
    answer = await serving.answer(request)
    assert (answer.status, answer.body) == (200, b'{"version_info":"1"}')
    assert upstream.asked == [("/v3/discovery:clusters", request.body)]


async def test_no_control_plane_is_503_and_anything_else_404() -> None:
    serving, _ = relay(SecretStore(), HttpError("istiod:15012: Connection refused"))
    answer = await serving.answer(discovery("listeners"))
    assert (answer.status, answer.body) == (503, "istiod:15012: Connection refused\n")
    assert (await serving.answer(Request("GET", "/", {}, "", {}, b"", ""))).status == 404
    assert (
        await serving.answer(Request("POST", "/v3/discovery:secrets", {}, "", {}, b"[", ""))
    ).status == 400
