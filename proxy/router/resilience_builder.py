"""Makes the timeouts, retries and mirrors of a route from typed configuration.

Raises ValueError(".path: why") for what cannot be used. Pure.
Reference: envoy.config.route.v3.{RouteAction,RetryPolicy}; Envoy source/common/router/config_impl.cc (`RetryPolicyImpl`).
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.config.header_matcher import HeaderMatcher
from proxy.config.route import RequestMirrorPolicy, RouteAction
from proxy.config.route import RetryPolicy as RetryPolicyConfig
from proxy.router.conditions import Condition, Request, header_conditions
from proxy.router.retry import CONDITIONS, DEFAULT_BASE_INTERVAL, HeaderTest, RetryPolicy
from proxy.router.route import MirrorPolicy
from proxy.router.stream import Headers
from proxy.router.timeouts import NO_TIMEOUTS, GrpcTimeout, StreamDuration, Timeouts


def timeouts(action: RouteAction, retry: RetryPolicyConfig | None) -> Timeouts:
    per_try = retry.per_try_timeout if retry is not None and retry.per_try_timeout is not None else 0.0
    # Envoy ignores `timeout` beside max_stream_duration, also when that is 0.
    timeout = 0.0 if action.max_stream_duration is not None else float(action.timeout)
    return Timeouts(timeout, float(per_try)) if timeout or per_try else NO_TIMEOUTS


def grpc_timeout(action: RouteAction) -> GrpcTimeout | None:
    """None: the route takes no notice of `grpc-timeout`, as beside max_stream_duration."""
    if action.max_grpc_timeout is None or action.max_stream_duration is not None:
        return None
    return GrpcTimeout(float(action.max_grpc_timeout), float(action.grpc_timeout_offset or 0.0))


def stream_duration(action: RouteAction) -> StreamDuration | None:
    """None: nothing limits how long a request lasts."""
    wanted = action.max_stream_duration
    if wanted is None or (not wanted.max_stream_duration and wanted.grpc_timeout_header_max is None):
        return None
    grpc = wanted.grpc_timeout_header_max
    return StreamDuration(
        float(wanted.max_stream_duration or 0.0),
        None if grpc is None else float(grpc),
        float(wanted.grpc_timeout_header_offset or 0.0),
    )


def retry_policy(config: RetryPolicyConfig) -> RetryPolicy:
    conditions = frozenset(word.strip() for word in config.retry_on.split(",")) & CONDITIONS
    back_off = config.retry_back_off
    base = float(back_off.base_interval) if back_off is not None else DEFAULT_BASE_INTERVAL
    longest = float(back_off.max_interval) if back_off is not None and back_off.max_interval else 10 * base
    return RetryPolicy(
        retry_on=conditions,
        num_retries=config.num_retries,
        status_codes=frozenset(config.retriable_status_codes),
        base_interval=base,
        max_interval=longest,
        avoid_previous_hosts=bool(config.retry_host_predicate),
        host_selection_attempts=int(config.host_selection_retry_max_attempts),
        priorities_every=config.retry_priority.typed_config.update_frequency if config.retry_priority else 0,
        response_headers=_tests(config.retriable_headers, ".retry_policy.retriable_headers"),
        request_headers=_tests(config.retriable_request_headers, ".retry_policy.retriable_request_headers"),
    )


def _tests(matchers: Iterable[HeaderMatcher], where: str) -> tuple[HeaderTest, ...]:
    return tuple(_test(condition) for condition in header_conditions(matchers, where))


def _test(condition: Condition) -> HeaderTest:
    def matches(headers: Headers) -> bool:
        pseudo = {name: value for name, value in headers if name[:1] == b":"}
        head = Request(
            headers,
            pseudo.get(b":authority", b""),
            pseudo.get(b":path", b""),
            pseudo.get(b":method", b""),
            b"",
            0.0,
        )
        return condition.matches(head)

    return matches


def mirror_policies(wanted: Iterable[RequestMirrorPolicy]) -> tuple[MirrorPolicy, ...]:
    """The clusters that get a copy; without a fraction, of every request."""
    found = []
    for policy in wanted:
        fraction = policy.runtime_fraction
        share = 1.0 if fraction is None else fraction.default_value.fraction
        if share:
            found.append(MirrorPolicy(policy.cluster, share, not policy.disable_shadow_host_suffix_append))
    return tuple(found)
