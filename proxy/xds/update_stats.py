"""Counts what became of each update of one resource type, under Envoy's names (`cluster_manager.cds.update_success` …).

Reference: Envoy "xDS subscription statistics".
"""

from __future__ import annotations

import zlib

from proxy.observability.stats import StatsStore


class UpdateStats:
    """`prefix` is the subscription's, such as `listener_manager.lds`."""

    def __init__(self, stats: StatsStore, prefix: str) -> None:
        self._attempt = stats.counter(f"{prefix}.update_attempt")
        self._success = stats.counter(f"{prefix}.update_success")
        self._rejected = stats.counter(f"{prefix}.update_rejected")
        self._failure = stats.counter(f"{prefix}.update_failure")
        self._version = stats.gauge(f"{prefix}.version")

    def accepted(self, version: str) -> None:
        self._attempt.value += 1
        self._success.value += 1
        # Envoy shows a 64-bit hash of the version; any stable number that changes with it serves.
        self._version.value = zlib.crc32(version.encode())

    def rejected(self) -> None:
        self._attempt.value += 1
        self._rejected.value += 1

    def failed(self) -> None:
        self._attempt.value += 1
        self._failure.value += 1
