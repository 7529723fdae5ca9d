"""What a worker does beside serving."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from proxy import bootstrap
from proxy.config.decode import convert
from proxy.config.stats import StatsConfig
from proxy.observability import access_log
from proxy.tls.ssl_context import SslContext
from proxy.workers.worker import Start, Worker
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.engines import buffers, opened, sealed, shake


class FullDisk:
    """Access logs that cannot be written at first."""

    def __init__(self) -> None:
        self.tries = 0
        self.wrote = asyncio.Event()

    def flush(self) -> None:
        self.tries += 1
        if self.tries == 1:
            raise OSError(28, "No space left on device")
        self.wrote.set()


async def test_housekeeping_goes_on_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access_log, "FLUSH_SECONDS", 0.001)
    worker = Worker.__new__(Worker)
    worker.logs = logs = FullDisk()  # type: ignore[assignment]
    task = asyncio.create_task(worker.housekeeping())
    await asyncio.wait_for(logs.wrote.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "No space left on device" in caplog.text


def test_housekeeping_tidies_tls_whatever_the_logs_do(mesh_ca: MeshCa) -> None:
    server = SslContext(server=True)
    server.load_certificate(*mesh_ca.issue("spiffe://cluster.local/ns/default/sa/app"))
    a, b = shake(SslContext(server=False), server)
    worker = Worker.__new__(Worker)
    worker.logs = FullDisk()  # type: ignore[assignment]
    for message in (b"x" * 50_000, b"y"):
        assert opened(b, sealed(a, message)) == message
    assert buffers(b) > 0
    with pytest.raises(OSError, match="No space left"):
        worker._keep_house(1)
    worker._keep_house(2)
    assert buffers(b) == 0
    a.free()
    b.free()


@pytest.mark.parametrize(
    ("matcher", "included"),
    [
        ({"reject_all": True}, []),
        ({"reject_all": False}, ["cluster.a.rq", "http.in.rq", "server.live"]),
        ({"inclusion_list": {"patterns": [{"prefix": "cluster."}, {"exact": "server.live"}]}}, ["cluster.a.rq", "server.live"]),
        ({"exclusion_list": {"patterns": [{"suffix": ".rq"}]}}, ["server.live"]),
        ({"inclusion_list": {"patterns": [{"safe_regex": {"regex": "http.*"}}]}}, ["http.in.rq"]),
        ({"inclusion_list": {"patterns": [{"safe_regex": {"regex": "rq"}}]}}, []),  # of the whole name
    ],
)  # fmt: skip
def test_a_bootstrap_says_which_stats_there_are(matcher: dict[str, Any], included: list[str]) -> None:
    raw = {"stats_config": {"stats_matcher": matcher}}
    found = convert("stats_config", raw["stats_config"], StatsConfig).stats_matcher
    start = bootstrap.Bootstrap(raw, {}, None, None, stats=found)
    worker = Worker(Start(start, 1.0))
    names = ["cluster.a.rq", "http.in.rq", "server.live"]
    for name in names:
        worker.stats.counter(name)
    assert sorted(counter.name for counter in worker.stats.counters() if counter.name in names) == included
