"""Makes the data path's routes from typed configuration: what a route table's `build` is.

Everything that can be known when configuration arrives is computed here: cumulative weights, merged header operations,
retry policies, rewrites, redirect targets. Raises ValueError(".path: why") for what cannot be used.
Reference: envoy.config.route.v3; source/common/router/config_impl.cc; reference §5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.config.route import (
    RedirectAction,
    RouteAction,
    RouteConfiguration,
    VirtualHost,
)
from proxy.config.route import (
    Route as RouteConfig,
)
from proxy.observability.stats import StatsStore
from proxy.router import resilience_builder, rewrite
from proxy.router.filter_levels import FilterLevels, PerFilter, nothing
from proxy.router.hash_policy import hash_policy
from proxy.router.header_ops import HeaderOps, header_ops
from proxy.router.matcher import RouteTable
from proxy.router.overrides import RETRY_HEADERS
from proxy.router.route import ClusterTarget, DirectResponse, ForwardAction, Route
from proxy.router.route_stats import RouteStats

_NOT_FOUND_CODES = {"SERVICE_UNAVAILABLE": 503, "NOT_FOUND": 404, "INTERNAL_SERVER_ERROR": 500}
_HEADER_LEVEL = (
    "request_headers_to_add",
    "request_headers_to_remove",
    "response_headers_to_add",
    "response_headers_to_remove",
)


def _https_location(_: bytes, authority: bytes, path: bytes) -> bytes:
    return b"https://" + authority + path


def _own_location(scheme: bytes, authority: bytes, path: bytes) -> bytes:
    """Where an answer that must name a place points when the route names none."""
    return scheme + b"://" + authority + path


# Envoy's SslRedirectRoute: no name, no header operations, the port stays.
_TO_HTTPS = Route("", DirectResponse(301, b"", (), _https_location))


def build_table(
    config: RouteConfiguration,
    per_filter: PerFilter = nothing,
    store: StatsStore | None = None,
    previous: RouteTable[Route] | None = None,
) -> RouteTable[Route]:
    """The compiled route table; `per_filter` as its connection managers' filters want it. Raises `RouteTableError`.

    Routes with a stat_prefix count into `store`. `previous` is a table that differs in virtual hosts alone.
    """
    table_ops = _ops(config)

    def build(virtual_host: VirtualHost, route: RouteConfig) -> Route:
        levels = FilterLevels((route, virtual_host, config), per_filter)
        prefix = route.stat_prefix
        stats = RouteStats(store, virtual_host.name, prefix) if prefix and store is not None else None
        return _route(
            virtual_host, route, table_ops, levels, stats, config.max_direct_response_body_size_bytes
        )

    return RouteTable(config, build, _TO_HTTPS, previous)


Ops = tuple[HeaderOps, HeaderOps]  # request, response


def _ops(level: object) -> Ops:
    """The header operations of one level: weighted cluster, route, virtual host or table."""
    add_request, remove_request, add_response, remove_response = (
        getattr(level, name) for name in _HEADER_LEVEL
    )
    return header_ops(add_request, remove_request), header_ops(
        add_response, remove_response, of_response=True
    )


def _merged(levels: Iterable[Ops]) -> tuple[tuple[HeaderOps, ...], tuple[HeaderOps, ...]]:
    """Request and response operations of all levels, those without any left out."""
    levels = tuple(levels)
    return tuple(request for request, _ in levels if request), tuple(
        response for _, response in levels if response
    )


def _route(
    virtual_host: VirtualHost,
    config: RouteConfig,
    table_ops: Ops,
    levels: FilterLevels,
    stats: RouteStats | None,
    max_body: int,
) -> Route:
    outer = (_ops(config), _ops(virtual_host), table_ops)
    action: ForwardAction | DirectResponse
    if config.route is not None:
        action = _forward(virtual_host, config, config.route, outer, levels, stats)
    elif config.redirect is not None:
        action = _redirect(config, config.redirect, outer)
    else:
        direct = config.direct_response
        assert direct is not None
        body = direct.body
        content = b"" if body is None else body.read()
        if len(content) > max_body:
            raise ValueError(f": response body size is {len(content)} bytes; maximum is {max_body}")
        location = _own_location if direct.status == 201 or 300 <= direct.status < 400 else None
        action = DirectResponse(direct.status, content, _merged(outer)[1], location)
    return Route(
        name=config.name,
        action=action,
        decorator_operation=config.decorator.operation.encode() if config.decorator is not None else None,
        virtual_host=virtual_host.name,
        filter_config=_filter_config(action, levels),
        stream_duration=None if config.route is None else resilience_builder.stream_duration(config.route),
    )


def _filter_config(action: ForwardAction | DirectResponse, levels: FilterLevels) -> Mapping[str, Any] | None:
    """None only if no destination has configuration for filters either."""
    targets = action.targets if isinstance(action, ForwardAction) else ()
    if levels.of_route is None and any(target.filter_config is not None for target in targets):
        return {}
    return levels.of_route


def _forward(
    virtual_host: VirtualHost,
    config: RouteConfig,
    action: RouteAction,
    outer: tuple[Ops, ...],
    levels: FilterLevels,
    stats: RouteStats | None,
) -> ForwardAction:
    targets = _targets(action, outer, levels)
    retry = action.retry_policy if action.retry_policy is not None else virtual_host.retry_policy
    path = rewrite.path_rewrite(config.match, action.prefix_rewrite, action.regex_rewrite)
    host = action.host_rewrite_literal.encode() if action.host_rewrite_literal else None
    return ForwardAction(
        targets=targets,
        only=targets[0] if len(targets) == 1 else None,
        rewrites=path is not None or host is not None or any(map(_rewrites, targets)),
        total_weight=targets[-1].upto,
        stats=stats,
        timeouts=resilience_builder.timeouts(action, retry),
        retry=None if retry is None else resilience_builder.retry_policy(retry),
        grpc_timeout=resilience_builder.grpc_timeout(action),
        mirrors=resilience_builder.mirror_policies(action.request_mirror_policies),
        hash_policy=hash_policy(action.hash_policy),
        rewrite_path=path,
        host_rewrite=host,
        append_forwarded_host=action.append_x_forwarded_host,
        cluster_not_found_status=_NOT_FOUND_CODES[action.cluster_not_found_response_code],
        attempt_count=virtual_host.include_request_attempt_count,
        attempt_count_in_response=virtual_host.include_attempt_count_in_response,
    )


def _rewrites(target: ClusterTarget) -> bool:
    return bool(target.request_ops) or target.host_rewrite is not None


def _targets(action: RouteAction, outer: tuple[Ops, ...], levels: FilterLevels) -> tuple[ClusterTarget, ...]:
    if action.cluster is not None:
        merged = _merged(outer)
        return (
            ClusterTarget(
                action.cluster, 1, *merged, filter_config=levels.of_route, steers=_steers(merged[0])
            ),
        )
    assert action.weighted_clusters is not None
    targets: list[ClusterTarget] = []
    upto = 0
    for weighted in action.weighted_clusters.clusters:
        if weighted.weight:
            upto += weighted.weight
            host = weighted.host_rewrite_literal
            own = _ops(weighted)
            merged = _merged((own, *outer))
            targets.append(
                ClusterTarget(
                    weighted.name,
                    upto,
                    *merged,
                    host.encode() if host else None,
                    int(bool(own[0])),
                    levels.of_destination(weighted),
                    _steers(merged[0]),
                )
            )
    return tuple(targets)


def _steers(operations: Iterable[HeaderOps]) -> bool:
    """Whether the route itself sets headers by which a request asks for retries."""
    return any(addition.name in RETRY_HEADERS for ops in operations for addition in ops.add)


def _redirect(config: RouteConfig, action: RedirectAction, outer: tuple[Ops, ...]) -> DirectResponse:
    return DirectResponse(
        rewrite.STATUS[action.response_code],
        b"",
        _merged(outer)[1],
        rewrite.redirect_location(config.match, action),
    )
