"""`CreateCertificate`: a CSR and a token in, a chain out. The identity is the token's.

JSON instead of gRPC; paths and fields are Istio's. Reference: ARCHITECTURE.md; istio's security/pkg/server/ca/server.go.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

from aiohttp import web

from control.ca.authority import Authority, BadRequest
from control.ca.tokens import BadToken, TokenIssuer, bearer
from control.registry.workload import spiffe_id

PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate"

log = logging.getLogger(__name__)


class CaServer:
    """The handler. `count` is told `csr`, `issued`, `refused` or `unauthenticated`."""

    def __init__(
        self,
        authority: Authority,
        tokens: TokenIssuer,
        trust_domain: str,
        count: Callable[[str], None] = lambda _event: None,
    ) -> None:
        self._authority, self._tokens, self._trust_domain = authority, tokens, trust_domain
        self._count = count

    def routes(self) -> list[web.RouteDef]:
        return [web.post(PATH, self.create_certificate)]

    async def create_certificate(self, request: web.Request) -> web.Response:
        self._count("csr")
        try:
            identity = self._tokens.identity(bearer(request.headers.get("Authorization", "")))
        except BadToken as error:
            self._count("unauthenticated")
            log.warning("CSR refused: %s", error)
            return _message(401, f"request authenticate failure: {error}")
        spiffe = spiffe_id(self._trust_domain, identity.namespace, identity.service_account)
        try:
            csr, seconds = _parse(await request.text())
            chain = await asyncio.to_thread(self._authority.sign_workload, csr, spiffe, seconds)
        except BadRequest as error:
            self._count("refused")
            log.warning("CSR of %s refused: %s", spiffe, error)
            return _message(400, str(error))
        self._count("issued")
        return web.json_response({"cert_chain": chain})


def _parse(text: str) -> tuple[str, int]:
    try:
        body = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"not JSON: {error}") from error
    csr = body.get("csr") if isinstance(body, dict) else None
    if not isinstance(csr, str):
        raise BadRequest("csr: want a PEM text")
    seconds = body.get("validity_duration", 0)
    if isinstance(seconds, str) and seconds.isdigit():
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        raise BadRequest("validity_duration: want a number of seconds")
    return csr, seconds


def _message(status: int, text: str) -> web.Response:
    return web.json_response({"message": text}, status=status)
