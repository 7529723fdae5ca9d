"""`envoy.filters.http.local_ratelimit`: refuses requests beyond what token buckets of this sidecar allow.

The route's limit counts, else the whole listener's. One limiter's buckets are shared by all connections, or made for each one,
and start full whenever their configuration arrives anew. Knows no bucket arithmetic (`rate_limiter`, `token_bucket`).
Reference: Envoy source/extensions/filters/http/local_ratelimit/local_ratelimit.cc; X-RateLimit headers:
draft-polli-ratelimit-headers-03.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from proxy.config.per_filter import LOCAL_RATE_LIMIT
from proxy.config.per_filter import LocalRateLimit as Config
from proxy.config.values import RuntimeFractionalPercent
from proxy.http.filter_chain import Headers, HttpFilter
from proxy.http.local_reply import LocalReply
from proxy.http.rate_limiter import (
    Buckets,
    Descriptor,
    MakeBucket,
    check_descriptors,
    describe,
    describers,
    own_bucket,
)
from proxy.http.stream import Stream
from proxy.http.token_bucket import TokenBucket
from proxy.observability import response_flags as flags
from proxy.observability.stats import StatsStore
from proxy.router.conditions import request_of
from proxy.router.header_ops import header_ops

_BODY = b"local_rate_limited"
_RESOURCE_EXHAUSTED = 8
_TOO_MANY_REQUESTS = 429


class LimitStats:
    """`PREFIX.http_local_rate_limit.*`."""

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        prefix = f"{stat_prefix}.http_local_rate_limit."
        self.enabled = store.counter(prefix + "enabled")
        self.enforced = store.counter(prefix + "enforced")
        self.ok = store.counter(prefix + "ok")
        self.rate_limited = store.counter(prefix + "rate_limited")
        self.shadow_mode = store.counter(prefix + "shadow_mode")


class Limiter:
    """One configured limit and its buckets. Raises ValueError(".PATH: why")."""

    def __init__(
        self,
        config: Config,
        store: StatsStore,
        now: Callable[[], float],
        make_bucket: MakeBucket = own_bucket,
    ) -> None:
        check_descriptors(config.descriptors)
        self._config = config
        self._now = now
        self._buckets = Buckets(config, now(), make_bucket)
        self._how = describers(config)
        self.stats = LimitStats(store, config.stat_prefix)
        self.enabled = _share(config.filter_enabled)
        self.enforced = _share(config.filter_enforced)
        self.announces = config.enable_x_ratelimit_headers == "DRAFT_VERSION_03"
        self.on_passed = header_ops(config.request_headers_to_add_when_not_enforced)
        self.on_refused = header_ops(config.response_headers_to_add, of_response=True)
        status = config.status.code if config.status is not None else _TOO_MANY_REQUESTS
        self.reply = LocalReply(
            status if status >= 400 else _TOO_MANY_REQUESTS,
            _BODY,
            flags.RL,
            "local_rate_limited",
            grpc_status=_RESOURCE_EXHAUSTED if config.rate_limited_as_resource_exhausted else None,
        )

    def take(self, stream: Stream) -> tuple[bool, TokenBucket]:
        """Whether one more request is allowed, and the bucket that decided."""
        now = self._now()
        descriptors: list[Descriptor] = []
        if self._how:
            address = (stream.info.downstream_remote_address or "").rpartition(":")[0].strip("[]")
            descriptors = describe(self._how, request_of(stream), address.encode())
        return self._buckets_for(stream, now).take(descriptors, now)

    def _buckets_for(self, stream: Stream, now: float) -> Buckets:
        if not self._config.local_rate_limit_per_downstream_connection:
            return self._buckets
        kept = stream.connection.kept
        found: Buckets | None = kept.get(self)
        if found is None:
            found = kept[self] = Buckets(self._config, now)
        return found

    def announcement(self, bucket: TokenBucket) -> Callable[[int, Headers], None]:
        """The X-RateLimit headers, with what is left when the response goes out."""

        def announce(_: int, headers: Headers) -> None:
            now = self._now()
            headers += (
                (b"x-ratelimit-limit", b"%d" % bucket.limit),
                (b"x-ratelimit-remaining", b"%d" % bucket.remaining(now)),
                (b"x-ratelimit-reset", b"%d" % bucket.next_in(now)),
            )

        return announce


def _share(percent: RuntimeFractionalPercent | None) -> float:
    return 0.0 if percent is None else percent.default_value.fraction


class LocalRateLimit(HttpFilter):
    """`limiter` is the listener's own, for requests whose route has none."""

    name: ClassVar[str] = LOCAL_RATE_LIMIT

    def __init__(self, limiter: Limiter | None, draw: Callable[[], float]) -> None:
        self._limiter = limiter
        self._draw = draw
        self.only_by_route = limiter is None

    def silence(self) -> bool:
        self._limiter, self.only_by_route = None, True
        return True

    def on_request_headers(self, stream: Stream) -> LocalReply | None:
        limiter: Limiter | None = stream.filter_config.get(LOCAL_RATE_LIMIT, self._limiter)
        if limiter is None or (limiter.enabled < 1 and self._draw() >= limiter.enabled):
            return None
        stats = limiter.stats
        stats.enabled.value += 1
        allowed, bucket = limiter.take(stream)
        if limiter.announces:
            stream.response_edits += (limiter.announcement(bucket),)
        if allowed:
            stats.ok.value += 1
            return None
        stats.rate_limited.value += 1
        if self._draw() >= limiter.enforced:
            limiter.on_passed.apply(stream.headers, stream.info)
            return None
        stats.enforced.value += 1
        if limiter.on_refused:
            stream.response_edits += (lambda _, headers: limiter.on_refused.apply(headers, stream.info),)
        return limiter.reply
