"""The routes of a virtual host: a VirtualService's rules in order, or the plain route to a service.

A rule that matches everything ends the list: nothing after it could be reached.
Reference: istio's pilot/pkg/networking/core/route/route.go (BuildHTTPRoutesForVirtualService, translateRoute).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.compile import names
from control.compile.protobuf import Message, config_path, istio_metadata
from control.compile.retry import retry_policy
from control.compile.route_action import (
    destination_cluster,
    direct_response,
    header_mutations,
    redirect_action,
    route_action,
)
from control.compile.route_match import CATCH_ALL, Audience, is_catch_all, route_match, uses_claims
from control.push.config import VirtualServiceConfig
from control.push.context import PushContext
from control.resources.http_rule import HTTPMatchRequest, HTTPRoute


def virtual_service_routes(
    context: PushContext, config: VirtualServiceConfig, audience: Audience, host: str
) -> list[Message]:
    """`host` is that of the virtual host, for the name of spans."""
    routes: list[Message] = []
    for rule in config.spec.http or ():
        for match in _matches(rule, audience, config.source.namespace):
            route = _route(context, config, rule, match, audience, host)
            routes.append(route)
            if is_catch_all(route["match"]):
                return routes
    return routes


def _matches(rule: HTTPRoute, audience: Audience, namespace: str) -> Iterator[HTTPMatchRequest | None]:
    if not rule.match:
        yield None
        return
    for match in rule.match:
        if audience.accepts(match, namespace) and not uses_claims(match):
            yield match


def _route(
    context: PushContext,
    config: VirtualServiceConfig,
    rule: HTTPRoute,
    match: HTTPMatchRequest | None,
    audience: Audience,
    host: str,
) -> Message:
    namespace = config.source.namespace
    route: Message = {"match": route_match(match)}
    name = ".".join(part for part in (rule.name, match.name if match else None) if part)
    if name:
        route["name"] = name
    if match is not None and match.statPrefix:
        route["stat_prefix"] = match.statPrefix
    if rule.redirect is not None:
        route["redirect"] = redirect_action(rule.redirect, audience.port)
    elif rule.directResponse is not None:
        route["direct_response"] = direct_response(rule.directResponse)
    else:
        route["route"] = route_action(context, rule, namespace, audience.port)
    route.update(header_mutations(rule.headers))
    route["metadata"] = istio_metadata(config=config_path("virtual-service", namespace, config.source.name))
    route["decorator"] = {"operation": _operation(context, rule, namespace, audience.port, host, route)}
    return route


def _operation(
    context: PushContext, rule: HTTPRoute, namespace: str, port: int, host: str, route: Message
) -> str:
    """The name of spans: `HOST:PORT/PATH*`, with the destination's host when there is one destination."""
    if rule.route and len(rule.route) == 1:
        cluster = names.parse_cluster(
            destination_cluster(context, rule.route[0].destination, namespace, port)
        )
        host, port = cluster.host, int(cluster.port)
    match = route["match"]
    regex = match.get("safe_regex", {}).get("regex")
    path = match.get("path") or regex or f"{match['prefix']}*"
    return f"{host}:{port}{path}"


def default_route(context: PushContext, cluster: str, host: str, port: int) -> Message:
    """All requests to one cluster, with the mesh's retries and no timeout."""
    action: Message = {
        "cluster": cluster,
        "timeout": "0s",
    }
    policy = retry_policy(None, context.mesh.defaultHttpRetryPolicy)
    if policy is not None:
        action["retry_policy"] = policy
    return {
        "name": "default",
        "match": CATCH_ALL,
        "route": action,
        "decorator": {"operation": f"{host}:{port}/*"},
    }
