"""What routes, virtual hosts and weighted clusters may say to single HTTP filters (`typed_per_filter_config`).

The messages of the filters a route can configure, and by which name. The same messages configure these filters for a
whole connection manager. Reference: envoy/extensions/filters/http/{fault,cors,local_ratelimit}/v3,
envoy/extensions/filters/common/fault/v3, envoy.config.route.v3.{FilterConfig,RateLimit}.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.header_matcher import HeaderMatcher
from proxy.config.values import (
    Duration,
    FractionalPercent,
    HeaderText,
    HeaderValueOption,
    Message,
    RuntimeFractionalPercent,
    StringMatcher,
    UInt32,
    require_one,
)

T = "type.googleapis.com/"
_HTTP = T + "envoy.extensions.filters.http."
FAULT, CORS = "envoy.filters.http.fault", "envoy.filters.http.cors"
LOCAL_RATE_LIMIT = "envoy.filters.http.local_ratelimit"

MIN_FILL_INTERVAL = 0.05  # s, Envoy's


class FaultDelay(Message):
    fixed_delay: Duration
    percentage: FractionalPercent = msgspec.field(default_factory=FractionalPercent)

    def __post_init__(self) -> None:
        if not self.fixed_delay:
            raise ValueError("fixed_delay must be greater than 0s")


class FaultAbort(Message):
    http_status: Annotated[int, msgspec.Meta(ge=200, lt=600)] | None = None
    grpc_status: UInt32 | None = None
    percentage: FractionalPercent = msgspec.field(default_factory=FractionalPercent)

    def __post_init__(self) -> None:
        require_one(self, "http_status", "grpc_status")


class HTTPFault(Message, tag_field="@type", tag=_HTTP + "fault.v3.HTTPFault"):
    delay: FaultDelay | None = None
    abort: FaultAbort | None = None
    headers: list[HeaderMatcher] = []
    max_active_faults: UInt32 | None = None
    disable_downstream_cluster_stats: bool = False


class CorsPolicy(Message, tag_field="@type", tag=_HTTP + "cors.v3.CorsPolicy"):
    """Empty fields are taken from the next less specific policy of the route. `max_age` is in seconds."""

    allow_origin_string_match: list[StringMatcher] = []
    allow_methods: HeaderText = ""
    allow_headers: HeaderText = ""
    expose_headers: HeaderText = ""
    max_age: HeaderText = ""
    allow_credentials: bool | None = None
    filter_enabled: RuntimeFractionalPercent | None = None
    shadow_enabled: RuntimeFractionalPercent | None = None
    allow_private_network_access: bool | None = None
    forward_not_matching_preflights: bool | None = None


class TokenBucket(Message):
    """Fills continuously, `tokens_per_fill` (1 when absent) in each interval."""

    max_tokens: UInt32
    fill_interval: Duration
    tokens_per_fill: Annotated[int, msgspec.Meta(gt=0, lt=2**32)] | None = None

    def __post_init__(self) -> None:
        if self.fill_interval < MIN_FILL_INTERVAL:
            raise ValueError("fill_interval must be >= 50ms")


class StatusCode(Message):
    code: Annotated[int, msgspec.Meta(ge=100, lt=600)]


class DescriptorEntry(Message):
    """Without a value it stands for every value of the key, each with a bucket of its own."""

    key: Annotated[str, msgspec.Meta(min_length=1)]
    value: str = ""


class Descriptor(Message):
    entries: Annotated[list[DescriptorEntry], msgspec.Meta(min_length=1)]
    token_bucket: TokenBucket


class RequestHeaders(Message):
    header_name: str
    descriptor_key: str


class RemoteAddress(Message):
    pass


class GenericKey(Message):
    descriptor_value: str
    descriptor_key: str = "generic_key"


class HeaderValueMatch(Message):
    descriptor_value: str
    headers: Annotated[list[HeaderMatcher], msgspec.Meta(min_length=1)]
    descriptor_key: str = "header_match"
    expect_match: bool = True


class RateLimitAction(Message):
    request_headers: RequestHeaders | None = None
    remote_address: RemoteAddress | None = None
    generic_key: GenericKey | None = None
    header_value_match: HeaderValueMatch | None = None

    def __post_init__(self) -> None:
        require_one(self, "request_headers", "remote_address", "generic_key", "header_value_match")


class RateLimit(Message):
    """How a request is described: one entry from each action, or nothing if one of them has none."""

    actions: Annotated[list[RateLimitAction], msgspec.Meta(min_length=1)]


class LocalRateLimit(Message, tag_field="@type", tag=_HTTP + "local_ratelimit.v3.LocalRateLimit"):
    """Acts on no request unless `filter_enabled`, and refuses none unless `filter_enforced`, as in Envoy."""

    stat_prefix: Annotated[str, msgspec.Meta(min_length=1)]
    token_bucket: TokenBucket | None = None
    status: StatusCode | None = None
    filter_enabled: RuntimeFractionalPercent | None = None
    filter_enforced: RuntimeFractionalPercent | None = None
    request_headers_to_add_when_not_enforced: list[HeaderValueOption] = []
    response_headers_to_add: list[HeaderValueOption] = []
    rate_limits: list[RateLimit] = []
    descriptors: list[Descriptor] = []
    max_dynamic_descriptors: UInt32 = 20
    always_consume_default_token_bucket: bool = True
    local_rate_limit_per_downstream_connection: bool = False
    enable_x_ratelimit_headers: Literal["OFF", "DRAFT_VERSION_03"] = "OFF"
    rate_limited_as_resource_exhausted: bool = False


class FilterConfig(Message, tag_field="@type", tag=T + "envoy.config.route.v3.FilterConfig"):
    """Switches a filter off for a route, or carries its message."""

    config: HTTPFault | CorsPolicy | LocalRateLimit | None = None
    disabled: bool = False

    def __post_init__(self) -> None:
        if (self.config is None) is not self.disabled:
            raise ValueError("want either disabled: true or config")


class PerFilterConfig(Message, rename={"fault": FAULT, "cors": CORS, "local_rate_limit": LOCAL_RATE_LIMIT}):
    """One field per filter that a route can configure; any other name is refused."""

    fault: HTTPFault | FilterConfig | None = None
    cors: CorsPolicy | FilterConfig | None = None
    local_rate_limit: LocalRateLimit | FilterConfig | None = None

    def __post_init__(self) -> None:
        for given, wanted in (
            (self.fault, HTTPFault),
            (self.cors, CorsPolicy),
            (self.local_rate_limit, LocalRateLimit),
        ):
            if (
                isinstance(given, FilterConfig)
                and given.config is not None
                and type(given.config) is not wanted
            ):
                raise ValueError(f"the config is not a {wanted.__name__}")
        limit = self.local_rate_limit
        bare = limit.config if isinstance(limit, FilterConfig) else limit
        if isinstance(bare, LocalRateLimit) and bare.token_bucket is None:
            raise ValueError("local rate limit token bucket must be set for per filter configs")
