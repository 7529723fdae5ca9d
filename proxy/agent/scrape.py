"""The merged metrics of a pod on `:15020/stats/prometheus`: the agent's, the proxy's, the app's.

A source that fails never fails the scrape; it only counts in `istio_agent_scrape_failures_total`. The app comes last,
because an OpenMetrics body ends with `# EOF`, and its content type is the answer's.
Reference: Istio pilot/cmd/pilot-agent/status/server.go (handleStats); reference §1.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from proxy.admin.http_server import Request, Response
from proxy.observability import logging, prometheus
from proxy.observability.stats import StatsStore
from proxy.xds.http_client import HttpClient, HttpError
from proxy.xds.http_client import Response as Scraped

# Scraping one of our own ports as "the app" would scrape ourselves for ever.
FORBIDDEN_PORTS = frozenset((15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090))
_TIMEOUT = 10.0  # seconds, Prometheus's own default

log = logging.logger("agent")


class MergedMetrics:
    """`proxy_metrics(query)` gives the proxy's exposition, or raises `HttpError`; `annotations` say where the app's is."""

    def __init__(
        self,
        agent: StatsStore,
        proxy_metrics: Callable[[str], Awaitable[str]],
        annotations: Mapping[str, Any],
    ) -> None:
        self._agent = agent
        self._proxy_metrics = proxy_metrics
        self._app = _app_target(annotations)
        self._scrapes = agent.family("istio_agent_scrapes_total", ())
        self._failures = agent.family("istio_agent_scrape_failures_total", ("type",))

    async def answer(self, request: Request) -> Response:
        self._scrapes.counter(()).value += 1
        parts, content_type = [], prometheus.CONTENT_TYPE
        proxy = await self._of_proxy(request.query_string)
        app = await self._of_app(request.headers) if self._app else None
        parts += [prometheus.exposition(self._agent).encode(), proxy]
        if app is not None:
            parts.append(app.body)
            content_type = app.headers.get("content-type", content_type)
        return Response(b"".join(parts), content_type=content_type)

    async def _of_proxy(self, query: str) -> bytes:
        try:
            return (await self._proxy_metrics(query)).encode()
        except HttpError as error:
            self._failed("envoy", error)
            return b""

    async def _of_app(self, headers: Mapping[str, str]) -> Scraped | None:
        assert self._app is not None
        port, path = self._app
        client = HttpClient("127.0.0.1", port)
        wanted = [(name, headers[name]) for name in ("accept", "user-agent") if name in headers]
        try:
            answer = await client.request(
                "GET", path, within=_scrape_timeout(headers), headers=[*wanted, ("Connection", "close")]
            )
        except HttpError as error:
            self._failed("application", error)
            return None
        finally:
            client.close()
        if answer.status != 200:
            self._failed("application", HttpError(f"status {answer.status}"))
            return None
        return answer

    def _failed(self, kind: str, error: Exception) -> None:
        self._failures.counter((kind,)).value += 1
        log.debug("failed scraping %s metrics: %s", kind, error)


def _app_target(annotations: Mapping[str, Any]) -> tuple[int, str] | None:
    if str(annotations.get("scrape", "")).lower() != "true":
        return None
    port = int(annotations.get("port") or 80)
    if port in FORBIDDEN_PORTS:
        log.warning("prometheus.io/port %d is one of the sidecar's own and is not scraped", port)
        return None
    return port, str(annotations.get("path") or "/metrics")


def _scrape_timeout(headers: Mapping[str, str]) -> float:
    try:
        return float(headers.get("x-prometheus-scrape-timeout-seconds", _TIMEOUT))
    except ValueError:
        return _TIMEOUT
