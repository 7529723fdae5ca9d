"""The agent's pages: 15020 (health, merged metrics, app probes, quit, drain) and 15021 (readiness only).

Routes requests to their owners; knows neither the data path nor Envoy. Reference: Istio
pilot/cmd/pilot-agent/status/server.go; reference §1.3, §1.5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy.admin.http_server import Request, Response
from proxy.agent.app_probes import AppProbes
from proxy.agent.scrape import MergedMetrics
from proxy.observability import logging

READY_PATH = "/healthz/ready"
METRICS_PATHS = ("/stats/prometheus", "/metrics")

log = logging.logger("agent")

# None when ready, else why not.
NotReady = Callable[[], Awaitable[str | None]]


class StatusServer:
    """Handlers of the two ports; `quit` and `drain` start what their pages promise and return at once."""

    def __init__(
        self,
        not_ready: NotReady,
        metrics: MergedMetrics,
        probes: AppProbes,
        quit: Callable[[], None],
        drain: Callable[[], None],
    ) -> None:
        self._not_ready, self._metrics, self._probes = not_ready, metrics, probes
        self._posts = {"/quitquitquit": quit, "/drain": drain}
        self._last_reason: str | None = ""

    async def agent_port(self, request: Request) -> Response:
        """15020."""
        path = request.path
        if path == READY_PATH:
            return await self._ready()
        if path in METRICS_PATHS:
            return await self._metrics.answer(request)
        if path.startswith(("/app-health/", "/app-lifecycle/")):
            return await self._probes.answer(request)
        if path in self._posts:
            return self._local_post(request)
        return Response("404 page not found\n", 404)

    async def ready_port(self, request: Request) -> Response:
        """15021."""
        return await self._ready() if request.path == READY_PATH else Response(status=404)

    async def _ready(self) -> Response:
        reason = await self._not_ready()
        if reason != self._last_reason:
            self._last_reason = reason
            log.info("Envoy proxy is ready" if reason is None else f"Envoy proxy is NOT ready: {reason}")
        return Response() if reason is None else Response(f"{reason}\n", 503)

    def _local_post(self, request: Request) -> Response:
        if not request.local:
            return Response("Only requests from localhost are allowed\n", 403)
        if request.method != "POST":
            return Response("Method Not Allowed\n", 405)
        self._posts[request.path]()
        return Response("OK")
