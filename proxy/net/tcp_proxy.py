"""Opaque TCP: bytes from a client to a host of a cluster and back, until both sides are done.

Each side's end is passed on as a half-close; a side that reads slowly stops the other from being read. Between two plaintext
sides the bytes stay in the kernel. Decides nothing but the host. Invariant: a connection ends in exactly one log record, and gives its circuit-breaker units back.
Reference: Envoy source/common/tcp_proxy/tcp_proxy.cc; reference §5.13.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from proxy import clock
from proxy.config.network_filters import TcpProxy
from proxy.deadlines import Deadline, Deadlines
from proxy.net.connection import Connection
from proxy.net.downstream import DownstreamFacts
from proxy.net.splice import SplicedConnection, can_splice
from proxy.net.tls_connection import connection_on
from proxy.net.tls_socket import Established
from proxy.observability import response_flags as flags
from proxy.observability.stats import Counter, StatsStore
from proxy.observability.stream_info import StreamInfo
from proxy.router.hash_policy import source_ip_key
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_map import find
from proxy.upstream.failure import UpstreamReset
from proxy.upstream.host import Host
from proxy.upstream.opaque import OpaqueConnection
from proxy.upstream.transport import NO_OPTIONS

DEFAULT_IDLE_TIMEOUT = 3600.0  # s, Envoy's TcpProxy.idle_timeout
Logger = Callable[[StreamInfo], None]


class World(Protocol):
    """Where the clusters are and how a weighted choice is drawn."""

    @property
    def clusters(self) -> Mapping[str, Cluster]: ...

    @property
    def draw(self) -> Callable[[], float]: ...


class TcpStats:
    """`tcp.<stat_prefix>.…`"""

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        prefix = f"tcp.{stat_prefix}."
        self.cx_total: Counter = store.counter(prefix + "downstream_cx_total")
        self.no_route: Counter = store.counter(prefix + "downstream_cx_no_route")
        self.rx_bytes: Counter = store.counter(prefix + "downstream_cx_rx_bytes_total")
        self.tx_bytes: Counter = store.counter(prefix + "downstream_cx_tx_bytes_total")
        self.idle_timeout: Counter = store.counter(prefix + "idle_timeout")
        self.max_duration: Counter = store.counter(prefix + "max_downstream_connection_duration")


class TcpProxyFilter:
    """See `proxy.net.listener_config.NetworkFilter`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        config: TcpProxy,
        world: World,
        loggers: Iterable[Logger],
        store: StatsStore,
        opened: Logger,
    ) -> None:
        self.loop = loop
        self.deadlines = deadlines
        self.world = world
        self.loggers = tuple(loggers)
        self.opened = opened
        self.stats = TcpStats(store, config.stat_prefix)
        idle = config.idle_timeout
        self.idle_timeout = DEFAULT_IDLE_TIMEOUT if idle is None else float(idle)
        self.max_duration = float(config.max_downstream_connection_duration or 0.0)
        self.hashes_source = bool(config.hash_policy)
        weighted = config.weighted_clusters
        self._targets = (
            [(config.cluster or "", 1)]
            if weighted is None
            else [(one.name, one.weight) for one in weighted.clusters]
        )
        self._total = sum(weight for _, weight in self._targets)
        self._connections: set[TcpConnection] = set()

    def serve(self, end: Established, facts: DownstreamFacts) -> None:
        connection = TcpConnection(self, end, facts, self._pick())
        self._connections.add(connection)
        self.opened(connection.info)
        connection.start()

    def _pick(self) -> str:
        point = self.world.draw() * self._total
        for name, weight in self._targets:
            point -= weight
            if point < 0:
                return name
        return self._targets[-1][0]

    def ended(self, connection: TcpConnection) -> None:
        self._connections.discard(connection)

    def drain(self) -> None:
        """Opaque connections cannot be asked to end; they run until the drain time is over."""

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()

    @property
    def active(self) -> int:
        return len(self._connections)


class _Side:
    """One of the two connections: what it says is the other's to send."""

    __slots__ = ("connection", "ended", "owner", "peer")

    def __init__(self, owner: TcpConnection) -> None:
        self.owner = owner
        self.connection: Connection | None = None
        self.peer: _Side = self
        self.ended = False

    def on_data(self, data: bytes) -> None:
        other = self.peer.connection
        if other is None:
            return  # the client is read only once there is somebody to read for
        other.write(data)
        self.owner.touch()
        if other.congested and self.connection is not None:
            self.connection.pause_reading()

    def on_burst(self, pieces: list[bytes]) -> None:
        other = self.peer.connection
        if other is None:
            return
        other.write_pieces(pieces)
        self.owner.touch()
        if other.congested and self.connection is not None:
            self.connection.pause_reading()

    def on_drain(self) -> None:
        source = self.peer.connection
        if source is not None and not self.peer.ended:
            source.resume_reading()
        self.owner.on_sent(self)

    def on_eof(self) -> None:
        self.ended = True
        self.owner.on_half_close(self)

    def on_error(self, error: OSError) -> None:
        self.owner.on_broken(self, error)


class TcpConnection:
    """One proxied connection."""

    def __init__(self, proxy: TcpProxyFilter, end: Established, facts: DownstreamFacts, cluster: str) -> None:
        self._proxy = proxy
        self._now = proxy.deadlines.now
        self._facts = facts
        self._cluster_name = cluster
        self._upstream: OpaqueConnection | None = None
        self._down, self._up = _Side(self), _Side(self)
        self._down.peer, self._up.peer = self._up, self._down
        self._down.connection = connection_on(proxy.loop, end, self._down, SplicedConnection)
        self._idle: Deadline | None = None
        self._lifetime: Deadline | None = None
        self._last = 0.0
        self._done = False
        self.original_destination = facts.original_destination
        self.hash_key: int | None = None
        self.info = info = StreamInfo()
        info.start, info.start_time = facts.started or self._now(), facts.started_wall or clock.wall()
        info.downstream_local_address = facts.local_address
        info.downstream_remote_address = facts.remote_address
        info.requested_server_name = facts.sni
        info.upstream_cluster = cluster
        if facts.peer is not None:
            info.downstream_peer_uri_san = facts.peer.uri_san
            info.downstream_local_uri_san = facts.local_uri_san

    def start(self) -> None:
        """Pick a host and connect to it."""
        stats = self._proxy.stats
        stats.cx_total.value += 1
        if self._proxy.max_duration:
            self._lifetime = self._proxy.deadlines.after(self._proxy.max_duration, self._too_old)
        clusters, name = self._proxy.world.clusters, self._cluster_name
        cluster = find(clusters, name)
        if cluster is None:
            stats.no_route.value += 1
            self._finish(flags.NC)
            return
        self.info.upstream_metadata = cluster.upstream
        if not cluster.breaker.connections.allows():
            cluster.stats.upstream_cx_overflow.value += 1
            self._finish(flags.UO)
            return
        if cluster.hashes and self._proxy.hashes_source and self.info.downstream_remote_address is not None:
            self.hash_key = source_ip_key(self.info.downstream_remote_address)
        host = cluster.pick(self)
        if host is None:
            cluster.stats.upstream_cx_none_healthy.value += 1
            self._finish(flags.UH)
            return
        self._connect(cluster, host)

    def _connect(self, cluster: Cluster, host: Host) -> None:
        self.info.upstream_metadata = host.upstream
        self.info.upstream_attempts = 1
        upstream = OpaqueConnection(cluster, host, self._proxy.deadlines, self._on_connected, self._on_failed)
        try:
            upstream.open()
        except UpstreamReset:
            cluster.stats.upstream_cx_connect_attempts_exceeded.value += 1
            self._finish(flags.TCP_URX)
            return
        self._upstream = upstream
        self.info.upstream_host = host.name

    def _on_connected(self, end: Established) -> None:
        up = self._up.connection = connection_on(self._proxy.loop, end, self._up, SplicedConnection)
        host, port = up.sock.getsockname()[:2]
        self.info.upstream_local_address = f"{host}:{port}"
        down = self._down.connection
        assert down is not None
        if up.tls is not None and up.tls.session_reused and self._upstream is not None:
            self._upstream.cluster.stats.count_session_reused()
        if (
            isinstance(down, SplicedConnection)
            and isinstance(up, SplicedConnection)
            and can_splice(down.sock)
            and can_splice(up.sock)
        ):
            down.splice_to(up, self.touch)
            up.splice_to(down, self.touch)
        self._last = self._now()
        if self._proxy.idle_timeout:
            self._idle = self._proxy.deadlines.after(self._proxy.idle_timeout, self._check_idle)
        up.start()
        down.start()

    def _on_failed(self, failure: UpstreamReset) -> None:
        assert self._upstream is not None
        self._upstream.cluster.stats.upstream_cx_connect_attempts_exceeded.value += 1
        if failure.transport is not None:
            self.info.upstream_transport_failure_reason = failure.transport.replace(" ", "_")
        self._finish(flags.UF | flags.TCP_URX)

    def touch(self) -> None:
        """Bytes moved."""
        self._last = self._now()
        down, info = self._down.connection, self.info
        assert down is not None
        info.bytes_received, info.bytes_sent = down.bytes_in, down.bytes_out

    def on_half_close(self, side: _Side) -> None:
        other = side.peer.connection
        if side.peer.ended:
            self._finish_when_sent()
        elif other is not None:
            if side is self._down:
                self._keep_session()
            other.finish_writing()

    def _finish_when_sent(self) -> None:
        """Both sides are done; what is still unsent goes out first."""
        down, up = self._down.connection, self._up.connection
        if (down is None or not down.unsent) and (up is None or not up.unsent):
            self._finish(0)

    def on_sent(self, side: _Side) -> None:
        """All that was kept for this side is out."""
        if side.ended and side.peer.ended:
            self._finish_when_sent()

    def on_broken(self, side: _Side, error: OSError) -> None:
        """A reset is passed on as a reset."""
        reset = isinstance(error, ConnectionResetError)
        other = side.peer.connection
        if reset and other is not None:
            other.reset()
        if side is self._down:
            self._finish(0)
        else:
            self._up.ended = True
            self._finish(flags.UR if reset else flags.UC)

    def _check_idle(self) -> None:
        self._idle = None
        due = self._last + self._proxy.idle_timeout
        if self._now() >= due:
            self._proxy.stats.idle_timeout.value += 1
            self._finish(0)
            return
        self._idle = self._proxy.deadlines.arm(due, self._check_idle)

    def _too_old(self) -> None:
        self._lifetime = None
        self._proxy.stats.max_duration.value += 1
        self._finish(flags.DT)

    def _keep_session(self) -> None:
        """For the next connection to this host, where a ticket has come."""
        upstream, up = self._upstream, self._up.connection
        if upstream is None or up is None or up.tls is None or up.closed:
            return
        tls = upstream.host.transport.tls
        if tls is not None:
            tls.keep_session((upstream.host.address, NO_OPTIONS), up.tls)

    def close(self) -> None:
        """Break off."""
        self._finish(0)

    def _finish(self, flag: int) -> None:
        if self._done:
            return
        self._done = True
        for deadline in (self._idle, self._lifetime):
            if deadline is not None:
                self._proxy.deadlines.disarm(deadline)
        info, stats = self.info, self._proxy.stats
        down, up = self._down.connection, self._up.connection
        assert down is not None
        info.response_flags |= flag
        info.bytes_received = info.wire_bytes_received = down.bytes_in
        info.bytes_sent = info.wire_bytes_sent = down.bytes_out
        down.close()
        if self._upstream is not None:
            self._upstream.end(remote=self._up.ended)
            if up is not None:
                of_cluster = self._upstream.cluster.stats
                of_cluster.upstream_cx_rx_bytes_total.value += up.bytes_in
                of_cluster.upstream_cx_tx_bytes_total.value += up.bytes_out
                self._keep_session()
                up.close()
        stats.rx_bytes.value += info.bytes_received
        stats.tx_bytes.value += info.bytes_sent
        info.end = self._now()
        self._facts.on_closed()
        self._proxy.ended(self)
        for logger in self._proxy.loggers:
            logger(info)
