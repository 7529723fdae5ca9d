"""Route tables. Reference: envoy/config/route/v3/{route,route_components}.proto."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.hash_policy import HashPolicy
from proxy.config.header_matcher import HeaderMatcher
from proxy.config.per_filter import PerFilterConfig
from proxy.config.values import (
    DataSource,
    Duration,
    HeaderText,
    HeaderValueOption,
    HttpStatus,
    Message,
    Metadata,
    NonEmpty,
    RegexMatchAndSubstitute,
    RegexMatcher,
    RuntimeFractionalPercent,
    StringMatcher,
    UInt32,
    UInt64,
    require_one,
)


class QueryParameterMatcher(Message):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
    string_match: StringMatcher | None = None
    present_match: bool | None = None


class RouteMatch(Message):
    prefix: str | None = None
    path: str | None = None
    safe_regex: RegexMatcher | None = None
    path_separated_prefix: Annotated[str, msgspec.Meta(pattern=r"\A[^?#]+[^?#/]\Z")] | None = None
    case_sensitive: bool = True
    headers: list[HeaderMatcher] = []
    query_parameters: list[QueryParameterMatcher] = []
    runtime_fraction: RuntimeFractionalPercent | None = None

    def __post_init__(self) -> None:
        require_one(self, "prefix", "path", "safe_regex", "path_separated_prefix")


class ClusterWeight(Message):
    name: str
    weight: UInt32 = 0
    request_headers_to_add: list[HeaderValueOption] = []
    request_headers_to_remove: list[NonEmpty] = []
    response_headers_to_add: list[HeaderValueOption] = []
    response_headers_to_remove: list[NonEmpty] = []
    typed_per_filter_config: PerFilterConfig | None = None
    host_rewrite_literal: HeaderText | None = None


class WeightedCluster(Message):
    clusters: list[ClusterWeight]
    total_weight: UInt32 | None = None

    def __post_init__(self) -> None:
        total = sum(cluster.weight for cluster in self.clusters)
        if not total:
            raise ValueError("the weights of weighted_clusters add up to 0")
        if total >= 2**32:
            raise ValueError(f"the weights of weighted_clusters add up to {total}, more than 4294967295")


class NoConfig(Message, forbid_unknown_fields=False):
    """An extension known by its name alone."""


class RetryPlugin(Message):
    name: str
    typed_config: NoConfig | None = None


class PreviousPrioritiesConfig(
    Message,
    tag_field="@type",
    tag="type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
):
    update_frequency: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class RetryPriority(Message):
    name: str
    typed_config: PreviousPrioritiesConfig


class RetryBackOff(Message):
    base_interval: Duration
    max_interval: Duration | None = None

    def __post_init__(self) -> None:
        if not self.base_interval:
            raise ValueError("base_interval must be greater than 0s")
        if self.max_interval is not None and self.max_interval < self.base_interval:
            raise ValueError("max_interval must not be less than base_interval")


class RetryPolicy(Message):
    retry_on: str = ""
    num_retries: UInt32 = 1
    per_try_timeout: Duration | None = None
    retry_priority: RetryPriority | None = None
    retry_host_predicate: list[RetryPlugin] = []
    host_selection_retry_max_attempts: UInt64 = UInt64(1)
    retriable_status_codes: list[HttpStatus] = []
    retriable_headers: list[HeaderMatcher] = []
    retriable_request_headers: list[HeaderMatcher] = []
    retry_back_off: RetryBackOff | None = None

    def __post_init__(self) -> None:
        for plugin in self.retry_host_predicate:
            if plugin.name != "envoy.retry_host_predicates.previous_hosts":
                raise ValueError(f"retry_host_predicate {plugin.name!r} is not implemented")


class MaxStreamDuration(Message):
    """0 is unlimited. Beside this message Envoy ignores `timeout` and `max_grpc_timeout`."""

    max_stream_duration: Duration | None = None
    grpc_timeout_header_max: Duration | None = None
    grpc_timeout_header_offset: Duration | None = None


class RequestMirrorPolicy(Message):
    """Without `runtime_fraction` every request is mirrored."""

    cluster: str
    runtime_fraction: RuntimeFractionalPercent | None = None
    disable_shadow_host_suffix_append: bool = False
    trace_sampled: bool | None = None


class UpgradeConfig(Message):
    upgrade_type: str
    enabled: bool = True


class RouteAction(Message):
    cluster: NonEmpty | None = None
    weighted_clusters: WeightedCluster | None = None
    cluster_not_found_response_code: Literal["SERVICE_UNAVAILABLE", "NOT_FOUND", "INTERNAL_SERVER_ERROR"] = (
        "SERVICE_UNAVAILABLE"
    )
    timeout: Duration = Duration(15.0)
    retry_policy: RetryPolicy | None = None
    max_grpc_timeout: Duration | None = None
    grpc_timeout_offset: Duration | None = None
    request_mirror_policies: list[RequestMirrorPolicy] = []
    hash_policy: list[HashPolicy] = []
    prefix_rewrite: HeaderText = ""
    regex_rewrite: RegexMatchAndSubstitute | None = None
    host_rewrite_literal: HeaderText | None = None
    append_x_forwarded_host: bool = False
    max_stream_duration: MaxStreamDuration | None = None
    upgrade_configs: list[UpgradeConfig] = []

    def __post_init__(self) -> None:
        require_one(self, "cluster", "weighted_clusters")
        if self.prefix_rewrite and self.regex_rewrite is not None:
            raise ValueError("prefix_rewrite and regex_rewrite exclude each other")


class RedirectAction(Message):
    https_redirect: bool = False
    scheme_redirect: HeaderText = ""
    host_redirect: HeaderText = ""
    port_redirect: UInt32 = 0
    path_redirect: HeaderText = ""
    prefix_rewrite: HeaderText = ""
    regex_rewrite: RegexMatchAndSubstitute | None = None
    response_code: Literal[
        "MOVED_PERMANENTLY", "FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT"
    ] = "MOVED_PERMANENTLY"
    strip_query: bool = False

    def __post_init__(self) -> None:
        if self.https_redirect and self.scheme_redirect:
            raise ValueError("https_redirect and scheme_redirect exclude each other")
        paths = (self.path_redirect, self.prefix_rewrite, self.regex_rewrite)
        if sum(map(bool, paths)) > 1:
            raise ValueError("path_redirect, prefix_rewrite and regex_rewrite exclude each other")


class DirectResponseAction(Message):
    status: Annotated[int, msgspec.Meta(ge=200, lt=600)]
    body: DataSource | None = None


class Decorator(Message):
    operation: HeaderText
    propagate: bool = True


class Route(Message):
    match: RouteMatch
    name: str = ""
    route: RouteAction | None = None
    redirect: RedirectAction | None = None
    direct_response: DirectResponseAction | None = None
    decorator: Decorator | None = None
    metadata: Metadata | None = None
    stat_prefix: str = ""
    request_headers_to_add: list[HeaderValueOption] = []
    request_headers_to_remove: list[NonEmpty] = []
    response_headers_to_add: list[HeaderValueOption] = []
    response_headers_to_remove: list[NonEmpty] = []
    typed_per_filter_config: PerFilterConfig | None = None

    def __post_init__(self) -> None:
        require_one(self, "route", "redirect", "direct_response")


class VirtualHost(Message):
    name: str
    domains: Annotated[list[str], msgspec.Meta(min_length=1)]
    routes: list[Route] = []
    include_request_attempt_count: bool = False
    include_attempt_count_in_response: bool = False
    require_tls: Literal["NONE", "EXTERNAL_ONLY", "ALL"] = "NONE"
    retry_policy: RetryPolicy | None = None
    request_headers_to_add: list[HeaderValueOption] = []
    request_headers_to_remove: list[NonEmpty] = []
    response_headers_to_add: list[HeaderValueOption] = []
    response_headers_to_remove: list[NonEmpty] = []
    typed_per_filter_config: PerFilterConfig | None = None


class RouteConfiguration(Message):
    name: str = ""
    virtual_hosts: list[VirtualHost] = []
    validate_clusters: bool | None = None
    ignore_port_in_host_matching: bool = False
    max_direct_response_body_size_bytes: UInt32 = 4096
    request_headers_to_add: list[HeaderValueOption] = []
    request_headers_to_remove: list[NonEmpty] = []
    response_headers_to_add: list[HeaderValueOption] = []
    response_headers_to_remove: list[NonEmpty] = []
    typed_per_filter_config: PerFilterConfig | None = None
