"""What a VirtualService's rule does with a request, in Envoy's words.

Reference: istio's pilot/pkg/networking/core/route/route.go (applyHTTPRouteDestination, ApplyRedirect, ApplyDirectResponse).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.compile import names
from control.compile.mirror import mirror_policies
from control.compile.protobuf import Message
from control.compile.retry import retry_policy, time_limits
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
_DEFAULT_PORTS = {"http": 80, "https": 443}
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
    """`set` is emitted before `add`, each by name; pseudo headers are left out, the host is rewritten by the route."""
    fields: Message = {}
    for side in ("request", "response"):
        operations: HeaderOperations | None = getattr(headers, side, None)
        if operations is None:
            continue
        added = list(_added(operations))
        if added:
            fields[f"{side}_headers_to_add"] = added
        removed = [name for name in operations.remove or () if not _is_internal(name)]
        if removed:
            fields[f"{side}_headers_to_remove"] = removed
    return fields


def merged_mutations(*levels: Message) -> Message:
    """One level after the other: a rule's only destination adds its operations to the rule's."""
    fields: Message = {}
    for level in levels:
        for field, operations in level.items():
            fields[field] = [*fields.get(field, ()), *operations]
    return fields


def _is_internal(name: str) -> bool:
    return name.startswith(":") or name.lower() == "host"


def _added(operations: HeaderOperations) -> Iterator[Message]:
    for values, action in (
        (operations.set, "OVERWRITE_IF_EXISTS_OR_ADD"),
        (operations.add, "APPEND_IF_EXISTS_OR_ADD"),
    ):
        for key, value in sorted((values or {}).items()):
            if not _is_internal(key):
                yield {"header": {"key": key, "value": value}, "append_action": action}


def _host_from(headers: Headers | None) -> str | None:
    """The host a `set` asks for, else an `add`."""
    request = headers.request if headers else None
    found = [
        *((request.set if request else None) or {}).items(),
        *((request.add if request else None) or {}).items(),
    ]
    return next((value for key, value in found if key.lower() in _HOST), None)


def route_action(
    context: PushContext, rule: HTTPRoute, namespace: str, listener_port: int, *, forwarded_host: bool = False
) -> Message:
    action: Message = {
        **_clusters(context, rule.route or [], namespace, listener_port),
        **time_limits(rule.timeout),
    }
    mirrors = mirror_policies(
        rule, lambda destination: destination_cluster(context, destination, namespace, listener_port)
    )
    if mirrors:
        action["request_mirror_policies"] = mirrors
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
    if not host and rule.route and len(rule.route) == 1:
        host = _host_from(rule.route[0].headers)  # the rule's own rewrite has the last word
    if host:
        action["host_rewrite_literal"] = host
        if forwarded_host:
            action["append_x_forwarded_host"] = True
    return action


def _clusters(
    context: PushContext, destinations: list[HTTPRouteDestination], namespace: str, listener_port: int
) -> Message:
    """One destination gets everything whatever its weight; of several, those of weight 0 are left out."""
    if len(destinations) == 1:
        only = destinations[0].destination
        return {"cluster": destination_cluster(context, only, namespace, listener_port)}
    kept = [entry for entry in destinations if entry.weight > 0]
    return {
        "weighted_clusters": {"clusters": [_weighted(context, e, namespace, listener_port) for e in kept]}
    }


def _weighted(
    context: PushContext, entry: HTTPRouteDestination, namespace: str, listener_port: int
) -> Message:
    message: Message = {
        "name": destination_cluster(context, entry.destination, namespace, listener_port),
        "weight": entry.weight,
        **header_mutations(entry.headers),
    }
    host = _host_from(entry.headers)
    if host:
        message["host_rewrite_literal"] = host
    return message


def redirect_action(redirect: HTTPRedirect, listener_port: int, *, tls: bool) -> Message:
    """`tls`: the listener's requests are https. The default port of the scheme redirected to is left out."""
    action: Message = {}
    if redirect.redirectCode and redirect.redirectCode != 301:
        action["response_code"] = _REDIRECT_CODES[redirect.redirectCode]
    # Envoy can tell the port a request came to only at configuration time.
    port = listener_port if redirect.derivePort == "FROM_REQUEST_PORT" else redirect.port
    if port == _DEFAULT_PORTS[redirect.scheme or ("https" if tls else "http")]:
        port = None
    for field, value in (
        ("host_redirect", redirect.authority),
        ("path_redirect", redirect.uri),
        ("scheme_redirect", redirect.scheme),
        ("port_redirect", port),
    ):
        if value:
            action[field] = value
    return action


def direct_response(response: HTTPDirectResponse) -> Message:
    action: Message = {"status": response.status}
    body = response.body
    if body is not None and body.string is not None:
        action["body"] = {"inline_string": body.string}
    elif body is not None and body.bytes is not None:
        action["body"] = {"inline_bytes": body.bytes}
    return action
