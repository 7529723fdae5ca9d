"""Asks the app what a kubelet probe asked: the probes that injection moved to `:15020/app-health/…`.

The kubelet cannot reach an app behind STRICT mTLS, so the agent probes it inside the pod, at the pod's IP as the
kubelet would, from 127.0.0.6 so that the inbound rules let it pass. An unknown path is 400, an unreachable app 500.
Reference: Istio pilot/cmd/pilot-agent/status/server.go (handleAppProbe*); reference §1.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from proxy.admin.http_server import Request, Response
from proxy.tls.ssl_context import SslContext
from proxy.xds.http_client import HttpClient, HttpError
from proxy.xds.http_client import Response as AppResponse

SOURCE_ADDRESS = "127.0.0.6"
_MAX_REDIRECTS = 10
_MAX_BODY = 10 * 1024  # of which the kubelet, too, reads no more
_TIMEOUT = 1.0  # seconds, the kubelet's default `timeoutSeconds`


class AppProbes:
    """`probers` is ISTIO_KUBE_APP_PROBERS: path → Kubernetes probe; `ip` the pod's address."""

    def __init__(
        self, probers: Mapping[str, Any], ip: str, source_address: str | None = SOURCE_ADDRESS
    ) -> None:
        self._probers = probers
        self._ip = ip
        self._source = source_address

    async def answer(self, request: Request) -> Response:
        """The answer to one `/app-health/…` or `/app-lifecycle/…` request."""
        probe = self._probers.get(request.path)
        if probe is None:
            return Response(f"app prober config does not exists for {request.path}", 400)
        seconds = float(probe.get("timeoutSeconds") or _TIMEOUT)
        try:
            if "httpGet" in probe:
                return await self._http(probe["httpGet"], seconds, request)
            if "tcpSocket" in probe:
                return await self._tcp(int(probe["tcpSocket"]["port"]), seconds)
        except (HttpError, OSError, TimeoutError, KeyError, ValueError) as error:
            return Response(f"{error}\n", 500)
        return Response("probe kind is not supported\n", 500)

    async def _tcp(self, port: int, seconds: float) -> Response:
        local = (self._source, 0) if self._source else None
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(self._ip, port, local_addr=local)
        writer.close()
        return Response()

    async def _http(self, probe: Mapping[str, Any], seconds: float, request: Request) -> Response:
        headers = [(h["name"], h["value"]) for h in probe.get("httpHeaders") or ()]
        passed = [
            (k, v) for k, v in request.headers.items() if k not in ("host", "connection", "content-length")
        ]
        scheme = str(probe.get("scheme") or "HTTP").lower()
        path = "/" + str(probe.get("path") or "/").lstrip("/")
        url = f"{scheme}://{self._authority(int(probe['port']))}{path}"
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await self._get(url, [*headers, *passed], seconds)
            location = answer.headers.get("location")
            if answer.status // 100 != 3 or not location:
                # A final redirect means the app lives (the kubelet counts 3xx as success).
                status = 200 if answer.status // 100 == 3 else answer.status
                return Response(answer.body, status)
            url = urljoin(url, location)
        return Response(f"stopped after {_MAX_REDIRECTS} redirects\n", 500)

    def _authority(self, port: int) -> str:
        return f"[{self._ip}]:{port}" if ":" in self._ip else f"{self._ip}:{port}"

    async def _get(self, url: str, headers: list[tuple[str, str]], seconds: float) -> AppResponse:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        tls = _trusting if parts.scheme == "https" else None
        client = HttpClient(parts.hostname or self._ip, port, tls=tls, source_address=self._source)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            return await client.request(
                "GET", target, within=seconds, headers=[*headers, ("Connection", "close")], most=_MAX_BODY
            )
        finally:
            client.close()


def _trusting() -> SslContext:
    """Probes trust whatever certificate the app shows, as the kubelet's do."""
    return SslContext(server=False)
