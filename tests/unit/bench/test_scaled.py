"""Configuration at scale in the whole run: what the goals ask is the worst of what was measured."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from bench import scaled
from bench.scale.kubectl import MISSING

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
        "applies": {
            "one": {
                "glassmesh": {"median_ms": 140.0},
                "envoy": {"median_ms": 250.0},
                "kubectl": {"median_ms": 93.0},
            },
        },
    },
    "thin": {
        "plaintext": {
            "connected": 1000,
            "connect": {"max_ms": 120.0},
            "changes": {
                "one": {"max_ms": 300.0, "bytes_per_client": 5.0},
                "other": {"max_ms": 500.0, "bytes_per_client": 6.0},
            },
        },
        "tls": {
            "connected": 1000,
            "connect": {"max_ms": 2600.0},
            "changes": {
                "one": {"max_ms": 400.0, "bytes_per_client": 5.0},
                "other": {"max_ms": 700.0, "bytes_per_client": 6.0},
            },
            "applies": {"one": {"max_ms": 450.0, "kubectl_ms": 94.0}},
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


def test_the_table_tells_kubectl_from_what_follows_it() -> None:
    found = {row[0]: row[1:] for row in scaled.rows(LARGEST)}
    assert found["kubectl apply until applied, one, ms"] == ("250", "140", "0.56")
    assert found["  kubectl's own process, ms"] == ("", "94", "")  # the last such row
    assert found["1,000 thin clients, TLS, kubectl apply, one: last one, ms"] == ("", "450", "")
    assert found["1,000 thin clients, TLS: last one connected, ms"] == ("", "2600", "")


def test_the_table_says_that_there_is_no_kubectl() -> None:
    real = {key: value for key, value in LARGEST["real"].items() if key != "applies"}
    assert (MISSING, "", "", "") in scaled.rows({"real": {**real, "kubectl": MISSING}})
