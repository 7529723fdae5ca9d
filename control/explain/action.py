"""What a route does beside choosing a cluster, in short lines; and the request or answer that comes of it.

Only what the route says: a line per thing, nothing for what is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from control.explain.request import Asked
from control.explain.resources import Message
from proxy.config.route import Route
from proxy.config.values import StringMatcher
from proxy.router import rewrite
from proxy.router.conditions import string_test

_FILTERS = "envoy.filters.http."


def described(message: Message, route: Route, asked: Asked) -> list[str]:
    """The effects of a route, in the order they happen."""
    found = [*_filters(message), *_rewrites(message, route, asked), *_headers(message)]
    action = message.get("route")
    return [*found, *_forwarding(action)] if action is not None else found


def answer(route: Route, asked: Asked) -> str | None:
    """What the proxy itself answers; None when the request is forwarded."""
    if route.redirect is not None:
        location = rewrite.redirect_location(route.match, route.redirect)
        target = location(asked.scheme.encode(), asked.authority.encode(), asked.path.encode())
        return f"{rewrite.STATUS[route.redirect.response_code]} to {target.decode(errors='replace')}"
    if route.direct_response is not None:
        body = route.direct_response.body
        size = len(body.read()) if body is not None else 0
        return f"{route.direct_response.status}, {f'a body of {size} bytes' if size else 'no body'}"
    return None


def _filters(message: Message) -> Iterator[str]:
    filters: Message = message.get("typed_per_filter_config") or {}
    fault = filters.get(_FILTERS + "fault") or {}
    if fault.get("delay"):
        delay = fault["delay"]
        yield f"fault: {_share(delay.get('percentage'))} of requests wait {delay.get('fixed_delay')}"
    if fault.get("abort"):
        abort = fault["abort"]
        what = abort["http_status"] if "http_status" in abort else f"gRPC status {abort.get('grpc_status')}"
        yield f"fault: {_share(abort.get('percentage'))} of requests are answered {what}"
    if filters.get(_FILTERS + "cors"):
        yield f"CORS: {_origins(filters[_FILTERS + 'cors'])}"
    if filters.get(_FILTERS + "local_ratelimit"):
        bucket = filters[_FILTERS + "local_ratelimit"].get("token_bucket") or {}
        tokens, every = bucket.get("tokens_per_fill") or 1, bucket.get("fill_interval")
        yield f"local rate limit: {tokens} per {every}, at most {bucket.get('max_tokens')} at once"


def _origins(policy: Message) -> str:
    matchers = policy.get("allow_origin_string_match") or ()
    words = [string_test(StringMatcher(exact=one.get("exact"), prefix=one.get("prefix")))[0]
             if "safe_regex" not in one else f"matches {one['safe_regex']['regex']}" for one in matchers]  # fmt: skip
    return f"an origin that {' or '.join(words)}" if words else "no origin"


def _share(percentage: Message | None) -> str:
    value: Any = percentage or {}
    parts = {"HUNDRED": 1, "TEN_THOUSAND": 100, "MILLION": 10_000}[value.get("denominator", "HUNDRED")]
    return f"{value.get('numerator', 0) / parts:g} %"


def _rewrites(message: Message, route: Route, asked: Asked) -> Iterator[str]:
    action = route.route
    if action is None:
        return
    change = rewrite.path_rewrite(route.match, action.prefix_rewrite, action.regex_rewrite)
    if change is not None:
        yield f"path becomes {change(asked.path.encode()).decode(errors='replace')}"
    hosts = [action.host_rewrite_literal] if action.host_rewrite_literal else []
    weighted = (message["route"].get("weighted_clusters") or {}).get("clusters") or ()
    if not hosts:
        hosts = sorted({one["host_rewrite_literal"] for one in weighted if one.get("host_rewrite_literal")})
    if hosts:
        yield f"host becomes {' or '.join(hosts)}"


def _headers(message: Message) -> Iterator[str]:
    weighted = (message.get("route", {}).get("weighted_clusters") or {}).get("clusters") or ()
    for level, where in [(message, ""), *((one, f" (to {one['name']})") for one in weighted)]:
        for side in ("request", "response"):
            if level.get(f"{side}_headers_to_remove"):
                yield f"{side} headers removed: {', '.join(level[f'{side}_headers_to_remove'])}{where}"
            for option in level.get(f"{side}_headers_to_add") or ():
                verb = "set" if "OVERWRITE" in option.get("append_action", "") else "added"
                header = option["header"]
                yield f"{side} header {verb}: {header['key']}: {header.get('value', '')}{where}"


def _forwarding(action: Message) -> Iterator[str]:
    if action.get("timeout", "0s") != "0s":
        yield f"timeout {action['timeout']}"
    retry = action.get("retry_policy")
    if retry:
        codes = retry.get("retriable_status_codes")
        on = f"{retry.get('retry_on', '')}{f' {codes}' if codes else ''}".replace(",", ", ")
        each = f", each try at most {retry['per_try_timeout']}" if retry.get("per_try_timeout") else ""
        yield f"retries: up to {retry.get('num_retries', 1)} on {on}{each}"
    for mirror in action.get("request_mirror_policies") or ():
        share = (mirror.get("runtime_fraction") or {}).get("default_value") or {"numerator": 100}
        yield f"mirrored: {_share(share)} of requests to {mirror.get('cluster')}"
    for policy in action.get("hash_policy") or ():
        kind, by = next(iter((key, value) for key, value in policy.items() if key != "terminal"))
        name = next((by[key] for key in ("header_name", "name") if isinstance(by, dict) and key in by), "")
        yield f"hashed by {kind.replace('_', ' ')}{f' {name}' if name else ''}"
