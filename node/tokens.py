"""Service account tokens in a pod's volumes: asked of the API, renewed before they expire.

A token is renewed at 80 % of its life, or after 24 h, as the kubelet does; until the API answers, the old one stays in place.
Reference: kubelet's pkg/kubelet/token; TokenRequest of authentication.k8s.io/v1.
"""

from __future__ import annotations

import asyncio
import logging

from node.api_client import SERVICE_ACCOUNTS, ApiAway, ApiClient, ApiError, Object
from node.volumes import Token, Volumes

log = logging.getLogger(__name__)

RENEW_AT = 0.8  # of a token's life
MOST_SECONDS = 24 * 3600.0
RETRY_SECONDS = 1.0


class PodTokens:
    """All tokens of one pod."""

    def __init__(self, api: ApiClient, pod: Object, volumes: Volumes) -> None:
        self._api = api
        self._pod = pod
        self._volumes = volumes
        self._wanted = volumes.tokens()

    def __repr__(self) -> str:
        return f"<PodTokens {len(self._wanted)} of {self._pod['metadata']['name']}>"

    async def first(self) -> None:
        """Returns when every token is in place."""
        await asyncio.gather(*(self._put(volume, token) for volume, token in self._wanted))

    async def renew(self) -> None:
        """Renews for ever."""
        await asyncio.gather(*(self._renew(volume, token) for volume, token in self._wanted))

    async def _renew(self, volume: str, token: Token) -> None:
        while True:
            await asyncio.sleep(min(token.seconds * RENEW_AT, MOST_SECONDS))
            await self._put(volume, token)

    async def _put(self, volume: str, token: Token) -> None:
        """Tries until the API gives a token."""
        while True:
            try:
                self._volumes.write(volume, token.path, await self._request(token))
                return
            except (ApiAway, ApiError) as error:
                log.info("token for %s: %s", self._pod["metadata"]["name"], error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _request(self, token: Token) -> str:
        metadata = self._pod["metadata"]
        spec = {
            "audiences": [token.audience] if token.audience else [],
            "expirationSeconds": token.seconds,
            "boundObjectRef": {
                "kind": "Pod",
                "apiVersion": "v1",
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        account = self._pod["spec"].get("serviceAccountName") or "default"
        path = SERVICE_ACCOUNTS.path(metadata["namespace"], account, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self._api.request("POST", path, body)
        return str(answer["status"]["token"])
