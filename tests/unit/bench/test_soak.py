"""The soak tells flat from growing, and a short one over everything is flat and at rest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.sidecars import ROOT
from bench.soak import samples
from bench.soak.samples import Sample
from bench.soak.upstream import content_length


def taken(anonymous: list[int], fds: list[int] | None = None, step: int = 10_000) -> list[Sample]:
    descriptors = fds or [50] * len(anonymous)
    return [
        Sample(step * number, size + 10_000, size, count)
        for number, (size, count) in enumerate(zip(anonymous, descriptors, strict=True), 1)
    ]


def test_a_slope_is_per_hundred_thousand_requests() -> None:
    assert samples.slope([(0, 0), (50_000, 100), (100_000, 200)]) == pytest.approx(200)
    assert samples.slope([(0, 0), (50_000, 100)]) == 0


@pytest.mark.parametrize(
    ("anonymous", "fds", "flat"),
    [
        ([30_000] * 50, None, True),
        ([20_000, 28_000] + [30_000] * 48, None, True),  # what grows while it warms up is no leak
        ([30_000 + 2000 * (n % 5) for n in range(50)], None, True),  # the garbage collector's teeth
        ([30_000 + 100 * n for n in range(50)], None, False),  # 1000 KiB per 100,000
        ([30_000 + 20 * n for n in range(50)], None, True),  # 200
        ([30_000] * 50, [50 + 2 * n for n in range(50)], False),
        ([30_000] * 50, [50 + n % 30 for n in range(50)], True),
    ],
)
def test_flat_or_growing(anonymous: list[int], fds: list[int] | None, flat: bool) -> None:
    assert samples.judge(taken(anonymous, fds)).flat is flat


def test_a_short_run_may_be_noisy() -> None:
    assert samples.judge(taken([30_000 + 20 * n for n in range(50)], step=50)).flat


def test_only_traffic_has_to_come_to_rest() -> None:
    found = {
        "cluster.outbound|80||a.upstream_rq_active": 1,
        "cluster.outbound|80||a.upstream_rq_total": 9,
        "cluster.outbound|80||a.upstream_rq_pending_active": 0,
        "cluster.xds-rest.upstream_cx_active": 1,
        "http.admin.downstream_rq_active": 1,
        "http.outbound_0.0.0.0_80.fault.active_faults": 2,
    }
    assert samples.not_at_rest(found) == {
        "cluster.outbound|80||a.upstream_rq_active": 1,
        "http.outbound_0.0.0.0_80.fault.active_faults": 2,
    }


def test_the_app_finds_where_a_request_ends() -> None:
    assert content_length(b"POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\nx: 1") == 12
    assert content_length(b"GET / HTTP/1.1\r\nhost: a") == 0


def test_a_short_soak_exercises_everything_and_comes_to_rest(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "bench.soak", "--requests", "2500", "--seconds", "60"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "200"},
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "flat"
    assert "2500 requests in" in run.stdout
    assert list(tmp_path.iterdir()) == []
