"""What a route hashes where its destination wants consistent hashing; all its destinations' wishes, in their order.

Such a route's retries may go to the same host again: the key decides. Reference: istio's
pilot/pkg/networking/core/route/route.go (consistentHashToHashPolicy, hashForVirtualService), networkfilter.go (maybeSetHashPolicy).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control.compile import names
from control.compile.protobuf import Message, duration
from control.compile.retry import retry_policy
from control.compile.traffic_policy import effective_policy
from control.push.context import PushContext
from control.resources.http_rule import HTTPRetry
from control.resources.load_balancer import ConsistentHash, HTTPCookie


def with_hash_policy(
    context: PushContext,
    namespace: str,
    labels: Mapping[str, str],
    action: Message,
    retries: HTTPRetry | None = None,
) -> Message:
    """A `route` action with these retries, as a client of this namespace, with these labels, is to have it."""
    settings = [_settings(context, namespace, labels, name) for name in _clusters(action)]
    policies = [policy for each in settings if each is not None for policy in [_hash_policy(each)] if policy]
    if not policies:
        return action
    retry = retry_policy(retries, context.mesh.defaultHttpRetryPolicy, hashed=True)
    return {**action, "hash_policy": policies, **({"retry_policy": retry} if retry else {})}


def tcp_hash_policy(
    context: PushContext, namespace: str, labels: Mapping[str, str], target: Message
) -> Message:
    """Fields of a `tcp_proxy` with this `cluster` or these `weighted_clusters`: of opaque bytes only the source can be hashed."""
    for name in _clusters(target):
        settings = _settings(context, namespace, labels, name)
        if settings is not None and settings.useSourceIp:
            return {"hash_policy": [{"source_ip": {}}]}
    return {}


def _clusters(target: Message) -> Iterable[str]:
    if "cluster" in target:
        return (target["cluster"],)
    return [one["name"] for one in target.get("weighted_clusters", {}).get("clusters", ())]


def _settings(
    context: PushContext, namespace: str, labels: Mapping[str, str], cluster: str
) -> ConsistentHash | None:
    """The consistent hashing of an outbound cluster, if it has any."""
    if not cluster.startswith("outbound|"):
        return None
    parts = names.parse_cluster(cluster)
    rule = context.destination_rule(parts.host, namespace, labels)
    if rule is None:
        return None
    subset = next((one for one in rule.spec.subsets or () if one.name == parts.subset), None)
    balancer = effective_policy(rule.spec, subset, int(parts.port)).load_balancer
    return balancer.consistentHash if balancer is not None else None


def _hash_policy(settings: ConsistentHash) -> Message | None:
    if settings.httpHeaderName:
        return {"header": {"header_name": settings.httpHeaderName}}
    if settings.httpCookie is not None:
        return {"cookie": _cookie(settings.httpCookie)}
    if settings.httpQueryParameterName:
        return {"query_parameter": {"name": settings.httpQueryParameterName}}
    if settings.useSourceIp is not None:
        return {"connection_properties": {"source_ip": settings.useSourceIp}}
    return None


def _cookie(settings: HTTPCookie) -> Message:
    fields: Message = {"name": settings.name}
    if settings.ttl is not None:
        fields["ttl"] = duration(settings.ttl)
    if settings.path:
        fields["path"] = settings.path
    if settings.attributes:
        fields["attributes"] = [
            {"name": each.name, "value": each.value or ""} for each in settings.attributes
        ]
    return fields
