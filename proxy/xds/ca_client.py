"""Gets this workload's certificate from the CA, and renews it at half of its life.

Decides when to renew and how to go on after a failure; the identity is the CA's decision, from the token. Serving goes
on with the old certificate until the new one is in place. Failures are logged in one line each and retried.
Reference: Istio security/pkg/nodeagent (SECRET_GRACE_PERIOD_RATIO 0.5, jitter 0.01); ARCHITECTURE.md, "CA".
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable

from proxy.observability import logging
from proxy.tls import csr
from proxy.tls.secrets import ROOT, WORKLOAD, SecretError, SecretStore
from proxy.xds.backoff import Backoff
from proxy.xds.http_client import HttpClient, HttpError

PATH = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
_TIMEOUT = 10.0  # seconds
GRACE_RATIO, JITTER = 0.5, 0.01
_SHORTEST = 0.5  # seconds; a CA whose clock is behind must not make us spin

log = logging.logger("ca")


class CaError(Exception):
    """The CA refused or answered something unusable; the text is one line."""


def renewal_delay(not_before: float, not_after: float, now: float, jitter: float) -> float:
    """Seconds from `now` until half of the life is over; `jitter` in -1..1 moves it by up to 1 % of the life."""
    life = not_after - not_before
    return max(not_after - (GRACE_RATIO + JITTER * jitter) * life - now, _SHORTEST)


class CaClient:
    """Keeps `default` and `ROOTCA` of a secret store current. `ready` is set once both are there."""

    def __init__(
        self,
        http: HttpClient,
        secrets: SecretStore,
        identity: str,
        validity: float,
        make_request: Callable[[str], Awaitable[csr.SigningRequest]] = csr.request,
    ) -> None:
        self._http, self._secrets = http, secrets
        self._identity, self._validity = identity, validity
        self._make_request = make_request
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Fetch, then renew for as long as the sidecar lives."""
        backoff = Backoff(initial=0.2, maximum=10.0)
        while True:
            try:
                await self.renew()
            except (CaError, HttpError, csr.CsrError, SecretError) as error:
                log.warning("no certificate from the CA: %s", error)
                await asyncio.sleep(backoff.next(random.random()))  # noqa: S311 - spreads retries
                continue
            backoff.reset()
            await asyncio.sleep(self._until_renewal())

    async def renew(self) -> None:
        """One new key and certificate, in place when this returns."""
        made = await self._make_request(self._identity)
        body = json.dumps({"csr": made.csr_pem, "validity_duration": round(self._validity)}).encode()
        try:
            response = await self._http.request("POST", PATH, body, within=_TIMEOUT)
        finally:
            self._http.close()  # the next one is hours away
        chain = _chain(response.status, response.body)
        *own, root = chain
        self._secrets.set_validation(ROOT, root)
        self._secrets.set_certificate(WORKLOAD, "".join(own), made.private_key_pem)
        self.ready.set()
        leaf = self._secrets.certificate()
        log.info("certificate of %s in use", leaf.leaf.uri_sans[0] if leaf and leaf.leaf.uri_sans else "?")

    def _until_renewal(self) -> float:
        secret = self._secrets.certificate()
        assert secret is not None  # renew() put it there
        jitter = random.uniform(-1, 1)  # noqa: S311 - spreads renewals
        return renewal_delay(secret.leaf.not_before, secret.leaf.not_after, time.time(), jitter)


def _chain(status: int, body: bytes) -> list[str]:
    """The PEM blocks of a CA answer, each ending in a newline; at least leaf and root."""
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        answer = {}
    if status != 200:
        message = answer.get("message") if isinstance(answer, dict) else None
        raise CaError(
            f"{status} {message or body[:200].decode('utf-8', 'replace').strip() or 'without a message'}"
        )
    chain = answer.get("cert_chain") if isinstance(answer, dict) else None
    if not isinstance(chain, list) or len(chain) < 2 or not all(isinstance(pem, str) for pem in chain):
        raise CaError("the answer has no cert_chain of leaf and root")
    return [pem.rstrip("\n") + "\n" for pem in chain]
