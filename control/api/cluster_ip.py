"""ClusterIPs: one free address of the Service range for each Service, the same again for the same name.

Decides the address; the node makes it reachable. Invariant: no two Services hold one address.
"""

from __future__ import annotations

import zlib
from ipaddress import IPv4Network, ip_address

from control.api.admission import Review
from control.resources import service
from control.resources.kind import FieldError, Object, Verdict
from control.resources.model import invalid

NETWORK = IPv4Network("10.96.0.0/16")
# By convention 10.96.0.1 is the API server's and 10.96.0.10 the name server's.
_KEPT_FREE = frozenset(str(NETWORK[index]) for index in range(16))


class ClusterIPs:
    """A mutator that allocates and a validator that checks what a client chose itself."""

    def __init__(self) -> None:
        # Given out, but perhaps not stored yet: address to (namespace, name).
        self._promised: dict[str, tuple[str, str]] = {}

    async def allocate(self, review: Review) -> Object:
        obj = review.object
        if review.kind.resource != service.KIND.resource:
            return obj
        spec = dict(obj["spec"])
        if spec["type"] == "ExternalName":
            if "clusterIP" not in spec and "clusterIPs" not in spec:
                return obj
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
            return {**obj, "spec": spec}
        address = spec.get("clusterIP") or (review.old or {}).get("spec", {}).get("clusterIP")
        if not address:
            address = self._free(
                _name(obj), {ip: _name(other) for ip, other in (await _taken(review)).items()}
            )
        if spec.get("clusterIP") == address and spec.get("clusterIPs") == [address]:
            return obj
        return {**obj, "spec": {**spec, "clusterIP": address, "clusterIPs": [address]}}

    def _free(self, owner: tuple[str, str], taken: dict[str, tuple[str, str]]) -> str:
        for address in [ip for ip in self._promised if ip in taken]:
            del self._promised[address]
        size = NETWORK.num_addresses - 1
        start = zlib.crc32("/".join(owner).encode()) % size
        for step in range(size):
            address = str(NETWORK[(start + step) % size])
            if address in taken or address in _KEPT_FREE or self._promised.get(address, owner) != owner:
                continue
            self._promised[address] = owner
            return address
        raise RuntimeError(f"no address is free in {NETWORK}")

    async def check(self, review: Review) -> Verdict:
        address = review.object.get("spec", {}).get("clusterIP")
        if review.kind.resource != service.KIND.resource or address in (None, "", "None"):
            return Verdict()
        if ip_address(address) not in NETWORK:
            why = f"failed to allocate IP {address}: the provided IP is not in the valid range. The range of valid IPs is {NETWORK}"
            return Verdict((invalid("spec.clusterIPs", [address], why),))
        holder = (await _taken(review)).get(address)
        if holder is None or _name(holder) == _name(review.object):
            return Verdict()
        why = f"failed to allocate IP {address}: provided IP is already allocated"
        return Verdict((FieldError("spec.clusterIPs", f'Invalid value: ["{address}"]: {why}'),))


def _name(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


async def _taken(review: Review) -> dict[str, Object]:
    services, _ = await review.reader.list(service.KIND)
    return {obj["spec"]["clusterIP"]: obj for obj in services if obj["spec"].get("clusterIP")}
