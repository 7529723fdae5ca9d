"""Which token buckets a request draws from: the default one, and those of the descriptors it matches.

Every matching bucket must have a token. They are asked slowest first, then (unless configured otherwise for matching
requests) the default one; what was taken before one refused is not given back, as in Envoy. Time is an argument.
Reference: Envoy source/extensions/filters/common/local_ratelimit/local_ratelimit_impl.cc, and "Local rate limit".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from proxy.config.per_filter import Descriptor as DescriptorConfig
from proxy.config.per_filter import LocalRateLimit, RateLimitAction
from proxy.config.per_filter import TokenBucket as TokenBucketConfig
from proxy.http.token_bucket import TokenBucket
from proxy.router.conditions import Request, header_conditions

Entry = tuple[str, bytes]
Descriptor = tuple[Entry, ...]
Describe = Callable[[Request, bytes], Entry | None]
"""What an action says of a request and its client's address; None: nothing, and so the whole descriptor falls away."""


MakeBucket = Callable[[str, int, float, float], TokenBucket]
"""Makes a bucket that has this name within its limit, from its size, its tokens per s, and the time."""


def own_bucket(_: str, limit: int, rate: float, now: float) -> TokenBucket:
    """A bucket of this process alone."""
    return TokenBucket(limit, rate, now)


def bucket_of(
    config: TokenBucketConfig, now: float, name: str = "", make: MakeBucket = own_bucket
) -> TokenBucket:
    tokens = config.tokens_per_fill or 1
    return make(name, config.max_tokens, tokens / float(config.fill_interval), now)


class _AnyValue:
    """A descriptor some of whose entries stand for every value: a bucket for each that was met, the latest `kept`."""

    def __init__(self, config: DescriptorConfig, kept: int) -> None:
        self._wanted = tuple((entry.key, entry.value.encode()) for entry in config.entries)
        self._config = config.token_bucket
        self._kept = kept
        self._buckets: OrderedDict[Descriptor, TokenBucket] = OrderedDict()

    def find(self, descriptor: Descriptor, now: float) -> TokenBucket | None:
        if len(descriptor) != len(self._wanted):
            return None
        for (key, value), (wanted_key, wanted_value) in zip(descriptor, self._wanted, strict=True):
            if key != wanted_key or (wanted_value and value != wanted_value):
                return None
        found = self._buckets.get(descriptor)
        if found is None:
            found = self._buckets[descriptor] = bucket_of(self._config, now)
            if len(self._buckets) > self._kept:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(descriptor)
        return found


class Buckets:
    """All buckets of one configuration: the sidecar's, or one connection's. Those that callers' words call up are never shared."""

    def __init__(self, config: LocalRateLimit, now: float, make: MakeBucket = own_bucket) -> None:
        assert config.token_bucket is not None
        self._default = bucket_of(config.token_bucket, now, "", make)
        self._always_default = config.always_consume_default_token_bucket
        self._exact: dict[Descriptor, TokenBucket] = {}
        self._any_value: list[_AnyValue] = []
        for one in config.descriptors:
            if all(entry.value for entry in one.entries):
                key = tuple((entry.key, entry.value.encode()) for entry in one.entries)
                self._exact[key] = bucket_of(one.token_bucket, now, repr(key), make)
            else:
                self._any_value.append(_AnyValue(one, config.max_dynamic_descriptors))

    def take(self, descriptors: Sequence[Descriptor], now: float) -> tuple[bool, TokenBucket]:
        """Take a token from every bucket that one request matches: whether it is allowed, and the bucket that refused, or the
        slowest of those that matched.
        """
        if not descriptors:
            return self._default.take(now), self._default
        found = (self._find(descriptor, now) for descriptor in descriptors)
        matched = sorted((bucket for bucket in found if bucket is not None), key=lambda bucket: bucket.rate)
        for bucket in matched:
            if not bucket.take(now):
                return False, bucket
        if (not matched or self._always_default) and not self._default.take(now):
            return False, self._default
        return True, matched[0] if matched else self._default

    def _find(self, descriptor: Descriptor, now: float) -> TokenBucket | None:
        exact = self._exact.get(descriptor)
        if exact is not None:
            return exact
        for one in self._any_value:
            if found := one.find(descriptor, now):
                return found
        return None


def check_descriptors(descriptors: Iterable[DescriptorConfig]) -> None:
    """Raises ValueError(".descriptors[1]: why") for one that stands twice, which Envoy refuses."""
    seen: set[tuple[tuple[str, str], ...]] = set()
    for index, one in enumerate(descriptors):
        key = tuple((entry.key, entry.value) for entry in one.entries)
        if key in seen:
            text = ", ".join(f"{name}={value}" for name, value in key)
            raise ValueError(
                f".descriptors[{index}]: duplicate descriptor in the local rate descriptor: {text}"
            )
        seen.add(key)


def describers(config: LocalRateLimit) -> tuple[tuple[Describe, ...], ...]:
    """How requests are described, one tuple per entry of `rate_limits`. Raises ValueError(".rate_limits[0]…: why")."""
    return tuple(
        tuple(_describe(action, f".rate_limits[{i}].actions[{j}]") for j, action in enumerate(one.actions))
        for i, one in enumerate(config.rate_limits)
    )


def describe(how: Sequence[tuple[Describe, ...]], request: Request, client: bytes) -> list[Descriptor]:
    """The descriptors of a request, in configured order."""
    found = []
    for actions in how:
        entries = [entry for action in actions if (entry := action(request, client)) is not None]
        if len(entries) == len(actions):
            found.append(tuple(entries))
    return found


def _describe(action: RateLimitAction, where: str) -> Describe:
    if action.generic_key is not None:
        fixed = (action.generic_key.descriptor_key, action.generic_key.descriptor_value.encode())
        return lambda _request, _client: fixed
    if action.remote_address is not None:
        return lambda _request, client: ("remote_address", client)
    if action.request_headers is not None:
        name, key = action.request_headers.header_name.lower().encode(), action.request_headers.descriptor_key
        return lambda request, _: (key, b",".join(values)) if (values := request.header(name)) else None
    matcher = action.header_value_match
    assert matcher is not None
    entry = (matcher.descriptor_key, matcher.descriptor_value.encode())
    try:
        needed = header_conditions(matcher.headers)
    except ValueError as error:
        raise ValueError(f"{where}.header_value_match{error}") from None

    def match(request: Request, _: bytes) -> Entry | None:
        met = all(condition.matches(request) for condition in needed)
        return entry if met is matcher.expect_match else None

    return match
