"""What a VirtualService's rule does with a request, in Envoy's words.

Reference: istio's pilot/pkg/networking/core/route/route.go (applyHTTPRouteDestination, ApplyRedirect, ApplyDirectResponse).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.compile import names
from control.compile.protobuf import Message, duration
from control.compile.retry import retry_policy
from control.push.config import resolve_host
from control.push.context import PushContext
from control.resources.destination import Destination
from control.resources.http_headers import HeaderOperations, Headers
from control.resources.http_rule import (
    HTTPDirectResponse,
    HTTPRedirect,
    HTTPRoute,
    HTTPRouteDestination,
)

_REDIRECT_CODES = {
    301: "MOVED_PERMANENTLY",
    302: "FOUND",
    303: "SEE_OTHER",
    307: "TEMPORARY_REDIRECT",
    308: "PERMANENT_REDIRECT",
}
_HOST = ("host", ":authority")


def destination_cluster(
    context: PushContext, destination: Destination, namespace: str, listener_port: int
) -> str:
    """The cluster of a destination. Without a port: the service's only one, else the listener's."""
    host = resolve_host(destination.host, namespace, context.mesh.clusterDomain).lower()
    if destination.port is not None:
        port = destination.port.number
    else:
        service = context.by_host.get(host)
        port = service.ports[0].number if service and len(service.ports) == 1 else listener_port
    return names.outbound_cluster(port, destination.subset or "", host)


def header_mutations(headers: Headers | None) -> Message:
    """`set` is emitted before `add`; pseudo headers are left out, the host is rewritten by the route."""
    fields: Message = {}
    for side in ("request", "response"):
        operations: HeaderOperations | None = getattr(headers, side, None)
        if operations is None:
            continue
        added = list(_added(operations))
        if added:
            fields[f"{side}_headers_to_add"] = added
        if operations.remove:
            fields[f"{side}_headers_to_remove"] = operations.remove
    return fields


def _added(operations: HeaderOperations) -> Iterator[Message]:
    for values, action in (
        (operations.set, "OVERWRITE_IF_EXISTS_OR_ADD"),
        (operations.add, "APPEND_IF_EXISTS_OR_ADD"),
    ):
        for key, value in (values or {}).items():
            if not key.startswith(":") and key.lower() != "host":
                yield {"header": {"key": key, "value": value}, "append_action": action}


def _host_from(headers: Headers | None) -> str | None:
    values = (headers.request.set if headers and headers.request else None) or {}
    return next((value for key, value in values.items() if key.lower() in _HOST), None)


def route_action(context: PushContext, rule: HTTPRoute, namespace: str, listener_port: int) -> Message:
    # No max_stream_duration: beside it Envoy ignores the timeout.
    action: Message = {
        **_clusters(context, rule.route or [], namespace, listener_port),
        "timeout": duration(rule.timeout) if rule.timeout else "0s",
    }
    policy = retry_policy(rule.retries, context.mesh.defaultHttpRetryPolicy)
    if policy is not None:
        action["retry_policy"] = policy
    host = _host_from(rule.headers)
    if rule.rewrite is not None:
        if rule.rewrite.uriRegexRewrite is not None:
            action["regex_rewrite"] = {
                "pattern": {"regex": rule.rewrite.uriRegexRewrite.match},
                "substitution": rule.rewrite.uriRegexRewrite.rewrite,
            }
        elif rule.rewrite.uri:
            action["prefix_rewrite"] = rule.rewrite.uri
        host = rule.rewrite.authority or host
    if host:
        action["host_rewrite_literal"] = host
    return action


def _clusters(
    context: PushContext, destinations: list[HTTPRouteDestination], namespace: str, listener_port: int
) -> Message:
    """One destination gets everything whatever its weight; of several, those of weight 0 are left out."""
    kept = [entry for entry in destinations if entry.weight > 0] if len(destinations) > 1 else destinations
    if len(kept) == 1 and not kept[0].headers:
        return {"cluster": destination_cluster(context, kept[0].destination, namespace, listener_port)}
    return {
        "weighted_clusters": {"clusters": [_weighted(context, e, namespace, listener_port) for e in kept]}
    }


def _weighted(
    context: PushContext, entry: HTTPRouteDestination, namespace: str, listener_port: int
) -> Message:
    message: Message = {
        "name": destination_cluster(context, entry.destination, namespace, listener_port),
        "weight": entry.weight or 100,
        **header_mutations(entry.headers),
    }
    host = _host_from(entry.headers)
    if host:
        message["host_rewrite_literal"] = host
    return message


def redirect_action(redirect: HTTPRedirect, listener_port: int) -> Message:
    action: Message = {}
    if redirect.redirectCode and redirect.redirectCode != 301:
        action["response_code"] = _REDIRECT_CODES[redirect.redirectCode]
    for field, value in (
        ("host_redirect", redirect.authority),
        ("path_redirect", redirect.uri),
        ("scheme_redirect", redirect.scheme),
        ("port_redirect", redirect.port),
    ):
        if value:
            action[field] = value
    if redirect.derivePort == "FROM_REQUEST_PORT" and listener_port not in (80, 443):
        action["port_redirect"] = listener_port
    return action


def direct_response(response: HTTPDirectResponse) -> Message:
    action: Message = {"status": response.status}
    body = response.body
    if body is not None and body.string is not None:
        action["body"] = {"inline_string": body.string}
    elif body is not None and body.bytes is not None:
        action["body"] = {"inline_bytes": body.bytes}
    return action
