"""Whatever happens to a request with retries, timeouts and a mirror, nothing of it is left when it is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.failure import ResetReason, UpstreamReset
from tests.unit.proxy.in_memory import (
    FakeSocket,
    Mesh,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)

GAUGES = (
    "upstream_rq_active",
    "upstream_rq_pending_active",
    "circuit_breakers.default.rq_retry_open",
    "circuit_breakers.default.rq_open",
    "circuit_breakers.default.rq_pending_open",
)
RESPONSES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nhalf",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 2",
    b"nonsense\r\n\r\n",
)
TRUSTING = {
    "use_remote_address": True,
    "internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]},
}
EVENTS = st.one_of(
    st.tuples(st.just("connects"), st.integers(0, 5)),
    st.tuples(st.just("refuses"), st.integers(0, 5)),
    st.tuples(st.just("answers"), st.integers(0, 5), st.sampled_from(RESPONSES)),
    st.tuples(st.just("ends"), st.integers(0, 5)),
    st.tuples(st.just("breaks"), st.integers(0, 5)),
    st.tuples(st.just("stalls"), st.integers(0, 5)),
    st.tuples(st.just("reads"), st.integers(0, 5)),
    st.tuples(st.just("uploads"), st.sampled_from((1, 1000, 600_000))),
    st.tuples(st.just("passes"), st.sampled_from((0.001, 0.03, 0.3, 2.0))),
    st.tuples(st.just("gives up")),
    st.tuples(st.just("asks"), st.sampled_from((b"", b"x" * 10)), st.booleans()),
)


def _mesh() -> Mesh:
    action = {
        "cluster": "app",
        "timeout": "1s",
        "retry_policy": {"retry_on": "5xx", "num_retries": 3, "per_try_timeout": "0.4s"},
        "request_mirror_policies": [{"cluster": "copy"}],
    }
    limits = {"thresholds": [{"max_retries": 1, "max_pending_requests": 2, "max_requests": 2}]}
    plane = Mesh(
        snapshot(
            clusters=[
                static_cluster("app", ("10.0.0.1", 80), circuit_breakers=limits),
                static_cluster("copy", ("10.0.0.2", 80), circuit_breakers=limits),
            ],
            listeners=[
                listener(connection_manager([{"match": {"prefix": "/"}, "route": action}], **TRUSTING))
            ],
        )
    )
    plane.connector.automatic = False
    return plane


class _Play:
    """The events of one example, as far as they can happen."""

    def __init__(self) -> None:
        self.plane = _mesh()
        self.clients: list[FakeSocket] = []
        self.decided: set[int] = set()

    def _upstream(self, n: int) -> FakeSocket | None:
        sockets = [one for one in self.plane.connector.sockets if not one.closed]
        return sockets[n % len(sockets)] if sockets else None

    def _opening(self, n: int) -> Any:
        attempts = self.plane.connector.attempts
        open_ = [i for i, one in enumerate(attempts) if i not in self.decided and not one.cancelled]
        if not open_:
            return None
        self.decided.add(open_[n % len(open_)])
        return attempts[open_[n % len(open_)]]

    def happen(self, what: str, *details: Any) -> None:
        if what == "asks":
            client = self.plane.client()
            self.clients.append(client)
            size = b"Content-Length: 2000000" if details[0] else b"X-No: body"
            hedge = b"x-envoy-hedge-on-per-try-timeout: true\r\n" if details[1] else b""
            head = b"POST / HTTP/1.1\r\nHost: a\r\n" + hedge + size + b"\r\n\r\n"
            client.receive(head + details[0])
        elif what in ("connects", "refuses"):
            opening = self._opening(details[0])
            if opening is not None and what == "connects":
                opening.succeed()
            elif opening is not None:
                opening.fail(UpstreamReset(ResetReason.REMOTE_CONNECTION_FAILURE))
        elif what == "passes":
            self.plane.run(details[0])
        elif what in ("uploads", "gives up"):
            client = self.clients[-1] if self.clients else None
            if client is not None and not client.closed:
                if what == "gives up":
                    client.receive_eof()
                else:
                    for _ in range(0, details[0], 50_000):
                        client.receive(b"x" * min(details[0], 50_000))
        else:
            self._upstream_does(what, *details)

    def _upstream_does(self, what: str, n: int, data: bytes = b"") -> None:
        upstream = self._upstream(n)
        if upstream is None:
            return
        if what == "answers":
            upstream.receive(data)
        elif what == "ends":
            upstream.receive_eof()
        elif what == "breaks":
            upstream.receive_error()
        elif what == "stalls":
            upstream.capacity = 0
        else:
            upstream.drain()

    def end(self) -> None:
        """The clients go, and what lives on by itself runs out of time; so does what is being connected."""
        for client in self.clients:
            if not client.closed:
                client.receive_eof()
        while (opening := self._opening(0)) is not None:
            opening.fail(UpstreamReset(ResetReason.CONNECTION_TIMEOUT))
            self.plane.run(1)
        self.plane.run(60)


class _NoErrors(logging.Handler):
    """A request's failure is logged, not raised: here it is raised."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage()) from (record.exc_info[1] if record.exc_info else None)


@pytest.fixture(scope="module", autouse=True)
def no_errors() -> Iterator[None]:
    handler = _NoErrors(logging.ERROR)
    logger = logging.getLogger("proxy")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENTS, max_size=25), hedges=st.booleans())
def test_nothing_is_left(events: list[tuple[Any, ...]], hedges: bool) -> None:
    play = _Play()
    play.happen("asks", b"", hedges)
    for event in events:
        play.happen(*event)
    play.end()
    plane = play.plane
    assert not plane.plane._world.mirrors
    for cluster in ("app", "copy"):
        for gauge in GAUGES:
            assert plane.stat(f"cluster.{cluster}.{gauge}") == 0, gauge
        breaker = plane.plane.clusters.clusters[cluster].breaker
        assert (breaker.requests.count, breaker.pending.count, breaker.retries.count) == (0, 0, 0)
    assert plane.stat("http.test.downstream_rq_active") == 0
    plane.plane.close()
