"""A data path with Istio's filter chain, for dialogues about single filters."""

from __future__ import annotations

from typing import Any

from tests.unit.proxy.in_memory import (
    ROUTER,
    FakeSocket,
    Mesh,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)

T = "type.googleapis.com/"
HTTP = T + "envoy.extensions.filters.http."
FAULT, CORS = "envoy.filters.http.fault", "envoy.filters.http.cors"
LIMIT = "envoy.filters.http.local_ratelimit"
ALWAYS = {"numerator": 100}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def fault(**fields: Any) -> dict[str, Any]:
    return {FAULT: {"@type": HTTP + "fault.v3.HTTPFault", **fields}}


def abort(status: int = 503, **fields: Any) -> dict[str, Any]:
    return fault(abort={"http_status": status, "percentage": ALWAYS}, **fields)


def delay(seconds: str, **fields: Any) -> dict[str, Any]:
    return fault(delay={"fixed_delay": seconds, "percentage": ALWAYS}, **fields)


def cors(**fields: Any) -> dict[str, Any]:
    return {CORS: {"@type": HTTP + "cors.v3.CorsPolicy", **fields}}


def limit(tokens: int, interval: str = "60s", **fields: Any) -> dict[str, Any]:
    share = {"default_value": ALWAYS}
    return {
        LIMIT: {
            "@type": HTTP + "local_ratelimit.v3.LocalRateLimit",
            "stat_prefix": "l",
            "token_bucket": {"max_tokens": tokens, "fill_interval": interval},
            "filter_enabled": share,
            "filter_enforced": share,
            **fields,
        }
    }


def disabled(name: str) -> dict[str, Any]:
    return {name: {"@type": T + "envoy.config.route.v3.FilterConfig", "disabled": True}}


def route(prefix: str = "/", *said: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A route to cluster `up`; `said` are entries of its typed_per_filter_config."""
    found: dict[str, Any] = {
        "match": {"prefix": prefix},
        "route": {"cluster": "up", "timeout": "0s"},
        **fields,
    }
    if said:
        found["typed_per_filter_config"] = {name: of for one in said for name, of in one.items()}
    return found


def chain(*, disabled: bool = False, **own: dict[str, Any]) -> list[dict[str, Any]]:
    """Istio's order. `own` overlays what a filter says for the whole listener: `fault=`, `limit=`."""
    filters: list[dict[str, Any]] = [
        {"name": FAULT, "typed_config": {**fault()[FAULT], **own.get("fault", {})}},
        {"name": CORS, "typed_config": {"@type": HTTP + "cors.v3.Cors"}},
        {
            "name": LIMIT,
            "typed_config": {
                "@type": HTTP + "local_ratelimit.v3.LocalRateLimit", "stat_prefix": "base", **own.get("limit", {}),
            },
        },
    ]  # fmt: skip
    return [*({**one, "disabled": disabled} for one in filters), ROUTER]


class Filtered(Mesh):
    """`infos` collects what would be logged."""

    def __init__(
        self,
        *routes: dict[str, Any],
        vhost: dict[str, Any] | None = None,
        disabled: bool = False,
        **own: dict[str, Any],
    ) -> None:
        manager = connection_manager(list(routes), vhost=vhost, http_filters=chain(disabled=disabled, **own))
        super().__init__(
            snapshot(clusters=[static_cluster("up", ("10.0.0.7", 80))], listeners=[listener(manager)])
        )
        for one in self.plane.listeners.listeners["l"].chains:
            filter_: Any = one.network_filter
            object.__setattr__(filter_.settings, "loggers", (self.infos.append,))

    def ask(
        self, path: str, *headers: str, method: str = "GET", client: FakeSocket | None = None
    ) -> list[str]:
        """The head of the answer, sorted after its status line; the upstream answers 200 if it is asked."""
        client = client or self.client()
        lines = [f"{method} {path} HTTP/1.1", "host: a", *headers, "", ""]
        client.receive("\r\n".join(lines).encode())
        self.run()
        if self.connector.sockets and self.upstream.take():
            self.upstream.receive(OK)
        first, *rest = client.take().partition(b"\r\n\r\n")[0].decode().split("\r\n")
        dull = ("date:", "server:", "x-envoy-upstream-service-time:")
        return [first.removeprefix("HTTP/1.1 "), *sorted(one for one in rest if not one.startswith(dull))]
