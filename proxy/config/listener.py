"""Listeners. Reference: envoy/config/listener/v3, envoy/extensions/filters/listener/*/v3."""

from __future__ import annotations

from typing import Literal

import msgspec

from proxy.config.access_log import AccessLog
from proxy.config.network_filters import NetworkFilter
from proxy.config.secret import DownstreamTransportSocket
from proxy.config.values import Address, CidrRange, Duration, Message, Metadata, Port, UInt32

_LISTENER = "type.googleapis.com/envoy.extensions.filters.listener."


class OriginalDst(Message, tag_field="@type", tag=_LISTENER + "original_dst.v3.OriginalDst"):
    pass


class TlsInspector(Message, tag_field="@type", tag=_LISTENER + "tls_inspector.v3.TlsInspector"):
    pass


class HttpInspector(Message, tag_field="@type", tag=_LISTENER + "http_inspector.v3.HttpInspector"):
    pass


class FilterChainMatchPredicate(Message):
    """Which original destinations a listener filter is not run for."""

    destination_port_range: PortRange | None = None
    or_match: MatchSet | None = None
    not_match: FilterChainMatchPredicate | None = None
    any_match: bool | None = None


class PortRange(Message):
    """Half open: start ≤ port < end."""

    start: UInt32
    end: UInt32


class MatchSet(Message):
    rules: list[FilterChainMatchPredicate]


class ListenerFilter(Message):
    name: str
    typed_config: OriginalDst | TlsInspector | HttpInspector
    filter_disabled: FilterChainMatchPredicate | None = None


class FilterChainMatch(Message):
    destination_port: Port | None = None
    prefix_ranges: list[CidrRange] = []
    server_names: list[str] = []
    transport_protocol: str = ""
    application_protocols: list[str] = []
    source_type: Literal["ANY", "SAME_IP_OR_LOOPBACK", "EXTERNAL"] = "ANY"
    source_prefix_ranges: list[CidrRange] = []
    source_ports: list[Port] = []


class FilterChain(Message):
    filters: list[NetworkFilter] = []
    name: str = ""
    filter_chain_match: FilterChainMatch = msgspec.field(default_factory=FilterChainMatch)
    transport_socket: DownstreamTransportSocket | None = None
    transport_socket_connect_timeout: Duration | None = None
    metadata: Metadata | None = None


class Listener(Message):
    name: str
    address: Address
    filter_chains: list[FilterChain] = []
    default_filter_chain: FilterChain | None = None
    listener_filters: list[ListenerFilter] = []
    listener_filters_timeout: Duration = Duration(15.0)
    continue_on_listener_filters_timeout: bool = False
    use_original_dst: bool = False
    bind_to_port: bool = True
    traffic_direction: Literal["UNSPECIFIED", "INBOUND", "OUTBOUND"] = "UNSPECIFIED"
    access_log: list[AccessLog] = []
    max_connections_to_accept_per_socket_event: UInt32 | None = None
    ignore_global_conn_limit: bool = False
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        if not self.filter_chains and self.default_filter_chain is None:
            raise ValueError("no filter chains specified")
