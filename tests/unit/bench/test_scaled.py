"""Configuration at scale in the whole run: what the goals ask is the worst of what was measured."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from bench import scaled

LARGEST: dict[str, Any] = {
    "services": 1000,
    "endpoints": 10,
    "real": {
        "glassmesh": {"after": {"rss": 100 * 1024}},
        "envoy": {"after": {"rss": 200 * 1024}},
        "changes": {
            "one": {"glassmesh": {"median_ms": 40.0}, "envoy": {"median_ms": 50.0}},
            "other": {"glassmesh": {"median_ms": 60.0}, "envoy": {"median_ms": 50.0}},
        },
    },
    "thin": {
        "connected": 1000,
        "changes": {
            "one": {"max_ms": 300.0, "bytes_per_client": 5.0},
            "other": {"max_ms": 700.0, "bytes_per_client": 6.0},
        },
    },
}


def test_the_slowest_change_decides() -> None:
    assert scaled.goals(LARGEST) == {"applied_s": 0.7, "applied_ratio": 1.2, "memory_ratio": 0.5}


def test_without_envoy_or_clients_nothing_is_compared() -> None:
    assert (
        scaled.goals(
            {
                "real": {
                    "glassmesh": {"after": {"rss": 1}},
                    "changes": {"one": {"glassmesh": {"median_ms": 1}}},
                }
            }
        )
        == {}
    )
    assert scaled.table([{"services": 10, "endpoints": 10}]).row_count == 0


def test_the_table_has_real_sidecars_and_thin_clients() -> None:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(scaled.table([LARGEST]))
    text = capture.get()
    assert "1,000 × 10" in text
    assert "0.50" in text
    assert "700" in text
