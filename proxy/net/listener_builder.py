"""Makes runtime listeners from typed configuration.

Decides how listener filters and filter chains of one listener hang together; network filters are made by the factory it
is given, so this layer knows no HTTP. Raises ConfigError for what cannot be used; nothing is bound here.
Reference: envoy.config.listener.v3; Envoy source/common/listener_manager/listener_impl.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxy.config import listener as config
from proxy.config.access_log import AccessLog
from proxy.config.decode import ConfigError
from proxy.config.network_filters import HttpConnectionManager, TcpProxy
from proxy.config.secret import DownstreamTlsContext
from proxy.net.filter_chain_match import DuplicateMatch, FilterChainMatcher
from proxy.net.listener_config import ListenerRuntime, NetworkFilter, PortTest, RuntimeChain
from proxy.net.listener_stats import ListenerStats
from proxy.observability.stats import StatsStore
from proxy.observability.stream_info import StreamInfo
from proxy.tls.contexts import TlsContext

Logger = Callable[[StreamInfo], None]


@dataclass(frozen=True, slots=True)
class ListenerParts:
    """What every listener is built with. `network_filter(typed, direction, chain name)` makes the terminal filter."""

    stats: StatsStore
    access_loggers: Callable[[Iterable[AccessLog]], list[Logger]]
    downstream_tls: Callable[[DownstreamTlsContext], TlsContext]
    local_uri_san: Callable[[], str | None]
    network_filter: Callable[[HttpConnectionManager | TcpProxy, config.Listener, list[Logger]], NetworkFilter]
    tcp_stats: Callable[[str], Logger]


def build(wanted: config.Listener, parts: ListenerParts, before: ListenerRuntime | None) -> ListenerRuntime:
    """The runtime of a listener. Chains whose definition is the same object as `before`'s are kept, connections and all."""
    where = f'listeners["{wanted.name}"]'
    socket_address = wanted.address.socket_address
    if socket_address is None:
        raise ConfigError(f"{where}.address: only socket addresses are implemented")
    address = (socket_address.address, socket_address.port_value)
    kept = {} if before is None else {id(chain.config): chain for chain in before.chains}
    keeps = before is not None and before.config.traffic_direction == wanted.traffic_direction
    chains: list[RuntimeChain] = []
    default: RuntimeChain | None = None
    matches = []
    for i, one in enumerate(wanted.filter_chains):
        chain = kept.get(id(one)) if keeps else None
        chain = chain or _chain(one, wanted, parts, f"{where}.filter_chains[{i}]")
        chains.append(chain)
        matches.append((one.filter_chain_match, one.name, chain))
    if wanted.default_filter_chain is not None:
        one = wanted.default_filter_chain
        found = kept.get(id(one)) if keeps else None
        default = found or _chain(one, wanted, parts, f"{where}.default_filter_chain")
        chains.append(default)
    try:
        matcher = FilterChainMatcher(matches, default)
    except (DuplicateMatch, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from None
    kinds = {type(one.typed_config): one.filter_disabled for one in wanted.listener_filters}
    return ListenerRuntime(
        name=wanted.name,
        config=wanted,
        address=address,
        stats=before.stats if before is not None else ListenerStats(parts.stats, address),
        matcher=matcher,
        chains=chains,
        inspects_tls=_port_test(kinds, config.TlsInspector),
        inspects_http=_port_test(kinds, config.HttpInspector),
        restores_destination=config.OriginalDst in kinds or wanted.use_original_dst,
        use_original_dst=wanted.use_original_dst,
        bind_to_port=wanted.bind_to_port,
        filters_timeout=float(wanted.listener_filters_timeout),
        continue_on_timeout=wanted.continue_on_listener_filters_timeout,
        loggers=tuple(parts.access_loggers(wanted.access_log)),
    )


def _chain(
    wanted: config.FilterChain, listener: config.Listener, parts: ListenerParts, where: str
) -> RuntimeChain:
    loggers: list[Logger] = []
    terminal: HttpConnectionManager | TcpProxy | None = None
    for one in wanted.filters:
        if isinstance(one.typed_config, HttpConnectionManager | TcpProxy):
            terminal = one.typed_config
        else:
            loggers.append(
                parts.tcp_stats("destination" if listener.traffic_direction == "INBOUND" else "source")
            )
    if terminal is None:
        raise ConfigError(f"{where}.filters: no terminal filter")
    try:
        network_filter = parts.network_filter(terminal, listener, loggers)
        tls = _tls(wanted, parts)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
    return RuntimeChain(
        name=wanted.name,
        config=wanted,
        network_filter=network_filter,
        tls=tls,
        local_uri_san=parts.local_uri_san,
        handshake_timeout=float(wanted.transport_socket_connect_timeout or 15.0),
    )


def _tls(wanted: config.FilterChain, parts: ListenerParts) -> TlsContext | None:
    if wanted.transport_socket is None:
        return None
    typed = wanted.transport_socket.typed_config
    return parts.downstream_tls(typed) if isinstance(typed, DownstreamTlsContext) else None


def _port_test(kinds: dict[type, config.FilterChainMatchPredicate | None], kind: type) -> PortTest:
    """Whether a listener filter runs for an original destination port."""
    if kind not in kinds:
        return lambda _: False
    disabled = kinds[kind]
    if disabled is None:
        return lambda _: True
    return lambda port: not _applies(disabled, port)


def _applies(predicate: config.FilterChainMatchPredicate, port: int) -> bool:
    ports = predicate.destination_port_range
    if ports is not None:
        return ports.start <= port < ports.end
    if predicate.or_match is not None:
        return any(_applies(rule, port) for rule in predicate.or_match.rules)
    if predicate.not_match is not None:
        return not _applies(predicate.not_match, port)
    return bool(predicate.any_match)
