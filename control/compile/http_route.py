"""The routes of a virtual host: a VirtualService's rules in order, or the plain route to a service.

A rule that matches everything ends the list: nothing after it could be reached.
Reference: istio's pilot/pkg/networking/core/route/route.go (BuildHTTPRoutesForVirtualService, translateRoute).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.compile import names
from control.compile.hash_policy import with_hash_policy
from control.compile.http_filter_config import per_filter_config
from control.compile.protobuf import Message, config_path, istio_metadata
from control.compile.rate_limit import LOCAL_RATE_LIMIT, route_limit
from control.compile.retry import retry_policy, time_limits
from control.compile.route_action import (
    direct_response,
    header_mutations,
    merged_mutations,
    redirect_action,
    route_action,
)
from control.compile.route_match import CATCH_ALL, Audience, is_catch_all, route_match, wants_claims
from control.push.config import VirtualServiceConfig, resolve_host
from control.push.context import PushContext
from control.resources.http_rule import HTTPMatchRequest, HTTPRoute


def destination_hosts(config: VirtualServiceConfig, domain: str) -> list[str]:
    """The hosts that the HTTP rules send to, copies included: their services and rules are all of a mesh that the routes look at."""
    found: set[str] = set()
    for rule in config.spec.http or ():
        destinations = [entry.destination for entry in rule.route or ()]
        destinations += [policy.destination for policy in rule.mirrors or ()]
        if rule.mirror is not None:
            destinations.append(rule.mirror)
        found.update(resolve_host(one.host, config.source.namespace, domain).lower() for one in destinations)
    return sorted(found)


def virtual_service_routes(
    context: PushContext, config: VirtualServiceConfig, audience: Audience
) -> list[Message]:
    """Empty when no rule is for this audience: the VirtualService then counts as if it were not there."""
    routes: list[Message] = []
    for index, rule in enumerate(config.spec.http or ()):
        for where, match in _matches(rule, audience, config.source.namespace):
            route = _route(context, config, rule, match, audience)
            # Ours: `glassmesh route` says which rule a route comes from.
            route["metadata"]["filter_metadata"]["glassmesh"] = {"rule": f"http[{index}]{where}"}
            routes.append(route)
            if is_catch_all(route["match"]):
                return routes
    return routes


def _matches(
    rule: HTTPRoute, audience: Audience, namespace: str
) -> Iterator[tuple[str, HTTPMatchRequest | None]]:
    """The matches that can hold for an audience, each with its place in the rule."""
    if not rule.match:
        yield "", None
        return
    for index, match in enumerate(rule.match):
        if audience.refusal(match, namespace) is None and not wants_claims(match):
            yield f".match[{index}]", match


def _route(
    context: PushContext,
    config: VirtualServiceConfig,
    rule: HTTPRoute,
    match: HTTPMatchRequest | None,
    audience: Audience,
) -> Message:
    namespace = config.source.namespace
    route: Message = {"match": route_match(match)}
    name = rule.name or ""
    if match is not None and match.name:
        name += f".{match.name}"  # also of a rule without a name, as Istio writes it
    if name:
        route["name"] = name
    if match is not None and match.statPrefix:
        route["stat_prefix"] = match.statPrefix
    if rule.redirect is not None:
        route["redirect"] = redirect_action(rule.redirect, audience.port, tls=audience.tls)
    elif rule.directResponse is not None:
        route["direct_response"] = direct_response(rule.directResponse)
    else:
        action = route_action(context, rule, namespace, audience.port, forwarded_host=audience.forwarded_host)
        route["route"] = with_hash_policy(context, audience.namespace, audience.labels, action, rule.retries)
    per_filter = per_filter_config(rule)
    limit = context.rate_limits.of_route(namespace, config.source.name, rule.name)
    if limit is not None:
        per_filter[LOCAL_RATE_LIMIT] = route_limit(limit)
    if per_filter:
        route["typed_per_filter_config"] = per_filter
    only = rule.route[0].headers if rule.route and len(rule.route) == 1 else None
    route.update(merged_mutations(header_mutations(rule.headers), header_mutations(only)))
    route["metadata"] = istio_metadata(config=config_path("virtual-service", namespace, config.source.name))
    route["decorator"] = {"operation": _operation(route, config.source.name, audience.port)}
    return route


def _operation(route: Message, name: str, port: int) -> str:
    """The name of spans: `HOST:PORT/PATH*` of the one destination; where there is none or several, the VirtualService's name."""
    cluster = route.get("route", {}).get("cluster")
    if cluster is not None:
        parts = names.parse_cluster(cluster)
        name, port = parts.host, int(parts.port)
    match = route["match"]
    regex = match.get("safe_regex", {}).get("regex")
    path = match["path"] if "path" in match else regex or f"{match['prefix']}*"
    return f"{name}:{port}{path}"


def default_route(context: PushContext, cluster: str, host: str, port: int) -> Message:
    """All requests to one cluster, with the mesh's retries and no timeout."""
    action: Message = {"cluster": cluster, **time_limits(None)}
    policy = retry_policy(None, context.mesh.defaultHttpRetryPolicy)
    if policy is not None:
        action["retry_policy"] = policy
    return {
        "name": "default",
        "match": CATCH_ALL,
        "route": action,
        "decorator": {"operation": f"{host}:{port}/*"},
    }
