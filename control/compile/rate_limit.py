"""A LocalRateLimit as Envoy's local rate limit filter.

Each further limit is a descriptor of its own: an entry `limit` with its number, and where every value of something has a bucket, an
entry that stands for any value. Pure. Reference: Envoy envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit,
envoy.config.route.v3.RateLimit; docs/local-rate-limit.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from control.compile.http_filter_config import fraction
from control.compile.protobuf import Message, T, duration, extension
from control.push.config import LocalRateLimitConfig
from control.push.context import PushContext
from control.resources.istio_types import PercentModel, StringMatch
from control.resources.local_rate_limit import Limit, RequestMatch, TokenBucket

LOCAL_RATE_LIMIT = "envoy.filters.http.local_ratelimit"
_TYPE = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
_STAT_PREFIX = "local_rate_limit"
_KEPT_VALUES = 1024  # buckets of an `each` limit; beyond that the one used longest ago is forgotten
_ALL: Message = {"numerator": 1_000_000, "denominator": "MILLION"}

_FOR_ROUTES = extension(LOCAL_RATE_LIMIT, _TYPE, stat_prefix=_STAT_PREFIX)


def for_routes(context: PushContext) -> Message | None:
    """The filter for the chain of a client, if any route has a limit; without a bucket it does nothing itself."""
    return _FOR_ROUTES if context.rate_limits.on_routes else None


def for_port(
    context: PushContext, namespace: str, labels: Mapping[str, str], port: int | None
) -> Message | None:
    """The filter for the chain of a server's or gateway's port, if it has a limit; None: ports that no service has."""
    config = context.rate_limits.of_port(namespace, labels, port)
    return None if config is None else extension(LOCAL_RATE_LIMIT, _TYPE, **_limit(config))


def route_limit(config: LocalRateLimitConfig) -> Message:
    """What a route says to the filter."""
    return {"@type": T + _TYPE, **_limit(config)}


def _limit(config: LocalRateLimitConfig) -> Message:
    spec, source = config.spec, config.source
    message: Message = {
        "stat_prefix": f"{_STAT_PREFIX}.{source.namespace}.{source.name}",
        "token_bucket": _bucket(spec.tokenBucket),
        "filter_enabled": {"default_value": _share(spec.enabledPercentage)},
        "filter_enforced": {"default_value": _share(spec.enforcedPercentage)},
    }
    if spec.limits:
        message["rate_limits"] = [{"actions": _actions(i, limit)} for i, limit in enumerate(spec.limits)]
        message["descriptors"] = [_descriptor(i, limit) for i, limit in enumerate(spec.limits)]
        message["max_dynamic_descriptors"] = _KEPT_VALUES
    if spec.status is not None:
        message["status"] = {"code": spec.status}
    if spec.responseHeaders:
        message["response_headers_to_add"] = [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in spec.responseHeaders.items()
        ]
    if spec.perConnection:
        message["local_rate_limit_per_downstream_connection"] = True
    if spec.rateLimitHeaders:
        message["enable_x_ratelimit_headers"] = "DRAFT_VERSION_03"
    return message


def _share(percentage: PercentModel | None) -> Message:
    return _ALL if percentage is None else fraction(percentage)


def _bucket(bucket: TokenBucket) -> Message:
    return {
        "max_tokens": bucket.maxTokens,
        "tokens_per_fill": bucket.tokensPerFill or 1,
        "fill_interval": duration(bucket.fillInterval),
    }


def _actions(number: int, limit: Limit) -> list[Message]:
    label = {"descriptor_key": "limit", "descriptor_value": str(number)}
    if limit.match is None:
        actions: list[Message] = [{"generic_key": label}]
    else:
        actions = [{"header_value_match": {**label, "headers": _headers(limit.match)}}]
    if limit.each is not None and limit.each.header is not None:
        name = limit.each.header
        actions.append({"request_headers": {"header_name": name, "descriptor_key": name}})
    elif limit.each is not None:
        actions.append({"remote_address": {}})
    return actions


def _descriptor(number: int, limit: Limit) -> Message:
    entries = [{"key": "limit", "value": str(number)}]
    if limit.each is not None:
        entries.append({"key": limit.each.header or "remote_address"})
    return {"entries": entries, "token_bucket": _bucket(limit.tokenBucket)}


def _headers(match: RequestMatch) -> list[Message]:
    found: list[Message] = []
    if match.path is not None:
        found.append({"name": ":path", "string_match": _path(match.path)})
    if match.method is not None:
        found.append(_header(":method", match.method))
    found += [_header(name, value) for name, value in (match.headers or {}).items()]
    return found


def _header(name: str, match: StringMatch) -> Message:
    for kind, text in (("exact", match.exact), ("prefix", match.prefix)):
        if text is not None:
            return {"name": name, "string_match": {kind: text}}
    if match.regex is None or match.regex == "*":
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": {"safe_regex": {"regex": match.regex}}}


def _path(match: StringMatch) -> Message:
    """Envoy's `:path` has the query; a match of the path alone is an expression."""
    if match.prefix is not None:
        return {"prefix": match.prefix}
    wanted = _literal(match.exact) if match.exact is not None else match.regex
    return {"safe_regex": {"regex": rf"(?:{wanted})(?:\?.*)?"}}


def _literal(text: str) -> str:
    return rf"\Q{text}\E"
