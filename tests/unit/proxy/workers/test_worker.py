"""What a worker does beside serving."""

from __future__ import annotations

import asyncio

import pytest

from proxy.observability import access_log
from proxy.workers.worker import Worker


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
