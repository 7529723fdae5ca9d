"""How a cluster balances load. Reference: envoy/config/cluster/v3/cluster.proto (CommonLbConfig, *LbConfig)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.values import Duration, Message, Percent, UInt64

_RING_LIMIT = 8 * 1024 * 1024
_MAGLEV_LIMIT = 5_000_011


class LocalityWeightedLbConfig(Message):
    """Localities get traffic by their own weights."""


class CommonLbConfig(Message):
    """`update_merge_window`: 1 s when absent, 0 disables."""

    healthy_panic_threshold: Percent | None = None
    update_merge_window: Duration | None = None
    locality_weighted_lb_config: LocalityWeightedLbConfig | None = None


class RuntimeDouble(Message):
    """`runtime_key` is for a runtime that does not exist here: the default is the value."""

    runtime_key: Annotated[str, msgspec.Meta(min_length=1)]
    default_value: float = 0.0


class SlowStartConfig(Message):
    slow_start_window: Duration | None = None
    aggression: RuntimeDouble | None = None
    min_weight_percent: Percent | None = None


class RoundRobinLbConfig(Message):
    slow_start_config: SlowStartConfig | None = None


class LeastRequestLbConfig(Message):
    choice_count: Annotated[int, msgspec.Meta(ge=2, le=2**32 - 1)] = 2
    active_request_bias: RuntimeDouble | None = None
    slow_start_config: SlowStartConfig | None = None

    def __post_init__(self) -> None:
        if self.active_request_bias is not None and self.active_request_bias.default_value < 0:
            raise ValueError("active_request_bias is negative")


class RingHashLbConfig(Message):
    minimum_ring_size: UInt64 = UInt64(1024)
    maximum_ring_size: UInt64 = UInt64(_RING_LIMIT)
    hash_function: Literal["XX_HASH", "MURMUR_HASH_2"] = "XX_HASH"

    def __post_init__(self) -> None:
        for name in ("minimum_ring_size", "maximum_ring_size"):
            if getattr(self, name) > _RING_LIMIT:
                raise ValueError(f"{name} {getattr(self, name)} is above {_RING_LIMIT}")
        if self.minimum_ring_size > self.maximum_ring_size:
            raise ValueError(
                f"minimum_ring_size ({self.minimum_ring_size}) > maximum_ring_size ({self.maximum_ring_size})"
            )


class MaglevLbConfig(Message):
    table_size: UInt64 = UInt64(65537)

    def __post_init__(self) -> None:
        if self.table_size > _MAGLEV_LIMIT:
            raise ValueError(f"table_size {self.table_size} is above {_MAGLEV_LIMIT}")
        if not _is_prime(self.table_size):
            raise ValueError("The table size of maglev must be prime number")


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
