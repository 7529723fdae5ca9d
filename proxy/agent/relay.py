"""What Envoy's `xds-rest` cluster reaches on 127.0.0.1:15009: the control plane, except for secrets.

Secrets are answered here, from this process's memory, as long polls; every other discovery request goes to the control
plane unread, with the workload's token added. Decides no configuration.
Reference: Istio pkg/istio-agent/xds_proxy.go; ARCHITECTURE.md, "Between control plane and sidecar".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from proxy.admin.http_server import JSON, Request, Response
from proxy.observability import logging
from proxy.tls.secrets import CertificateSecret, SecretStore
from proxy.xds.http_client import HttpClient, HttpError

SECRET_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type name
HOLD_SECONDS = 25.0  # below the 60 s request_timeout of the config source
_UPSTREAM_SECONDS = 55.0

log = logging.logger("xds")


class Relay:
    """`connect()` makes a client of the control plane; clients are kept and each carries one request at a time."""

    def __init__(
        self, secrets: SecretStore, connect: Callable[[], HttpClient], hold: float = HOLD_SECONDS
    ) -> None:
        self._secrets, self._connect, self._hold = secrets, connect, hold
        self._changed = asyncio.Event()
        self._idle: list[HttpClient] = []
        self._reachable = True
        secrets.subscribe(self._wake)

    def _wake(self, _name: str) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        if request.method != "POST" or not request.path.startswith("/v3/discovery:"):
            return Response("only discovery requests are relayed\n", 404)
        if request.path == "/v3/discovery:secrets":
            return await self._answer_secrets(request.body)
        return await self._forward(request)

    async def _forward(self, request: Request) -> Response:
        client = self._idle.pop() if self._idle else self._connect()
        try:
            answer = await client.request("POST", request.path, request.body, within=_UPSTREAM_SECONDS)
        except HttpError as error:
            if self._reachable:
                log.warning("control plane: %s", error)
            self._reachable = False
            return Response(f"{error}\n", 503)
        if not self._reachable:
            log.info("control plane: reached again")
        self._reachable = True
        self._idle.append(client)
        return Response(answer.body, answer.status, answer.headers.get("content-type", JSON))

    async def _answer_secrets(self, body: bytes) -> Response:
        try:
            asked = json.loads(body)
            names = [str(name) for name in asked.get("resource_names") or asked.get("resourceNames") or ()]
            known = str(asked.get("version_info") or asked.get("versionInfo") or "")
        except (ValueError, AttributeError):
            return Response("want a DiscoveryRequest\n", 400)
        if error := asked.get("error_detail") or asked.get("errorDetail"):
            log.warning("Envoy refused a secret: %s", error.get("message"))
        await self._wait_for_news(names, known)
        resources = [_resource(s) for s in self._secrets.all() if s.name in names]
        if len(resources) < len(names) or self._version(names) == known:
            return Response(status=304)
        answer = {"version_info": self._version(names), "type_url": SECRET_TYPE, "resources": resources}
        return Response(json.dumps(answer), content_type=JSON)

    async def _wait_for_news(self, names: list[str], known: str) -> None:
        try:
            async with asyncio.timeout(self._hold):
                while self._version(names) in ("", known):
                    await self._changed.wait()
        except TimeoutError:
            pass

    def _version(self, names: list[str]) -> str:
        """Changes whenever one of the named secrets does; empty while one is missing."""
        updated = [secret.updated for secret in self._secrets.all() if secret.name in names]
        return f"{max(updated):.6f}" if updated and len(updated) == len(names) else ""

    def close(self) -> None:
        for client in self._idle:
            client.close()
        self._idle.clear()


def _resource(secret: Any) -> dict[str, Any]:
    if isinstance(secret, CertificateSecret):
        value = {
            "tls_certificate": {
                "certificate_chain": {"inline_string": secret.chain_pem},
                "private_key": {"inline_string": secret.private_key_pem},
            }
        }
    else:
        value = {"validation_context": {"trusted_ca": {"inline_string": secret.trusted_ca_pem}}}
    return {"@type": SECRET_TYPE, "name": secret.name, **value}
