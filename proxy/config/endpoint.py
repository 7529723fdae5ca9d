"""Endpoints of a cluster. Reference: envoy/config/endpoint/v3."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.values import Address, Message, Metadata

Weight = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]


class Locality(Message):
    region: str = ""
    zone: str = ""
    sub_zone: str = ""


class Endpoint(Message):
    address: Address
    hostname: str = ""

    def __post_init__(self) -> None:
        if self.address.socket_address is None:
            raise ValueError("only socket addresses are implemented")


class LbEndpoint(Message):
    endpoint: Endpoint
    health_status: Literal["UNKNOWN", "HEALTHY", "UNHEALTHY", "DRAINING", "TIMEOUT", "DEGRADED"] = (
        "UNKNOWN"  # UNKNOWN and HEALTHY take traffic
    )
    metadata: Metadata | None = None
    load_balancing_weight: Weight = 1


class LocalityLbEndpoints(Message):
    locality: Locality = msgspec.field(default_factory=Locality)
    lb_endpoints: list[LbEndpoint] = []
    load_balancing_weight: Weight | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=128)] = 0


class Policy(Message):
    overprovisioning_factor: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)] = 140  # %


class ClusterLoadAssignment(Message):
    cluster_name: str
    endpoints: list[LocalityLbEndpoints] = []
    policy: Policy | None = None
