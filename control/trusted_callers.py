"""Whose requests may steer a sidecar's router by header: `x-envoy-max-retries`, `x-envoy-upstream-rq-timeout-ms` and the like.

Nobody's, unless switched on, as in Istio since 1.25. The switches are Istio's, which its control plane takes from the
environment; here they may also stand in the mesh config, under `features`. Trusted are then callers whose address lies in a
`fromCidr` of `meshNetworks`, and of whom the proxy knows one address only.
Reference: istio's pilot/pkg/features/pilot.go, pilot/pkg/networking/core/listener_builder.go; reference §8.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from pydantic import Field, field_validator

from control.resources.model import Model

_TRUE = frozenset({"1", "t", "true"})  # as Go's strconv.ParseBool


class Features(Model):
    """`PILOT_SIDECAR_USE_REMOTE_ADDRESS`: the client sidecar takes its app's own address for the caller's, and adds it to
    `x-forwarded-for`. `ENABLE_HCM_INTERNAL_NETWORKS`: the mesh's networks are trusted.
    """

    PILOT_SIDECAR_USE_REMOTE_ADDRESS: bool = False
    ENABLE_HCM_INTERNAL_NETWORKS: bool = False

    def with_environment(self, environment: Mapping[str, str]) -> Features:
        """What the environment says overrides the rest."""
        found = {
            name: environment[name].lower() in _TRUE for name in Features.model_fields if name in environment
        }
        return self.model_copy(update=found)


class NetworkEndpoints(Model):
    """The endpoints of a network, by their addresses."""

    fromCidr: str

    @field_validator("fromCidr")
    @classmethod
    def _is_network(cls, value: str) -> str:
        ip_network(value, strict=False)
        return value


class Network(Model):
    """One network of the mesh."""

    endpoints: list[NetworkEndpoints] = Field(default_factory=list)


def trusted_ranges(networks: Mapping[str, Network]) -> Iterator[tuple[str, int]]:
    """Address and prefix length of every range, in an order that does not depend on the file's."""
    ranges = {ip_network(one.fromCidr, strict=False) for of in networks.values() for one in of.endpoints}
    for network in sorted(ranges, key=str):
        yield str(network.network_address), network.prefixlen
