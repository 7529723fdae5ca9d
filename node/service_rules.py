"""The rules that turn a Service's ClusterIP into one of its endpoints, for callers without a sidecar.

Pure: from Services and Endpoints to the input of iptables-restore, which replaces both tables whole. Chains, order and names are
kube-proxy's, so that what is learned here reads the same on a cluster: a random endpoint, client affinity where asked, a refusal where there are no
endpoints, and a changed source address where a pod reaches itself. Reference: k8s.io/kubernetes/pkg/proxy/iptables.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from node.api_client import Object
from node.cache import Key, key_of
from node.network import SERVICES

MASQUERADE_MARK = "0x4000"
AFFINITY_SECONDS = 10800


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of one Service and where it leads."""

    name: str  # NAMESPACE/NAME:PORT NAME, as kube-proxy prints it
    protocol: str
    address: str
    port: int
    endpoints: tuple[str, ...]  # IP:PORT, in order
    affinity_seconds: int = 0

    @property
    def chain(self) -> str:
        return "KUBE-SVC-" + _hash(f"{self.name}{self.protocol}")

    def endpoint_chain(self, endpoint: str) -> str:
        return "KUBE-SEP-" + _hash(f"{self.name}{self.protocol}{endpoint}")


def _hash(text: str) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:16]


def service_ports(services: Iterable[Object], endpoints: Mapping[Key, Object]) -> list[ServicePort]:
    """Every port that has a ClusterIP, ordered by name."""
    found = []
    for service in services:
        spec, key = service["spec"], key_of(service)
        address = spec.get("clusterIP")
        if address in (None, "", "None") or spec.get("type") == "ExternalName":
            continue
        affinity = _affinity(spec)
        for port in spec.get("ports") or []:
            name = f"{'/'.join(key)}{':' + port['name'] if port.get('name') else ''}"
            protocol = port.get("protocol", "TCP").lower()
            ready = tuple(sorted(_ready(endpoints.get(key), port)))
            found.append(ServicePort(name, protocol, address, int(port["port"]), ready, affinity))
    return sorted(found, key=lambda port: (port.name, port.protocol, port.port))


def _affinity(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or AFFINITY_SECONDS)


def _ready(endpoints: Object | None, port: Object) -> Iterator[str]:
    for subset in (endpoints or {}).get("subsets") or []:
        for candidate in subset.get("ports") or []:
            if candidate.get("name", "") == port.get("name", ""):
                for address in subset.get("addresses") or []:
                    yield f"{address['ip']}:{candidate['port']}"


def restore_text(ports: Iterable[ServicePort]) -> str:
    """The whole nat and filter tables of the mesh's network."""
    ports = list(ports)
    return f"*filter\n{''.join(_filter(ports))}COMMIT\n*nat\n{''.join(_nat(ports))}COMMIT\n"


def _filter(ports: list[ServicePort]) -> Iterator[str]:
    yield ":KUBE-SERVICES - [0:0]\n"
    yield "-A FORWARD -j KUBE-SERVICES\n"
    yield "-A OUTPUT -j KUBE-SERVICES\n"
    for port in ports:
        if not port.endpoints:
            comment = f'-m comment --comment "{port.name} has no endpoints"'
            yield f"-A KUBE-SERVICES -d {port.address}/32 -p {port.protocol} {comment} --dport {port.port} -j REJECT\n"
    # The name server is an address of ours; everything else that was not translated leads nowhere.
    yield f"-A FORWARD -d {SERVICES} -j REJECT\n"
    yield f"-A OUTPUT ! -o lo -d {SERVICES} -j REJECT\n"


def _nat(ports: list[ServicePort]) -> Iterator[str]:
    for chain in ("KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"):
        yield f":{chain} - [0:0]\n"
    for port in ports:
        if port.endpoints:
            yield f":{port.chain} - [0:0]\n"
            yield from (f":{port.endpoint_chain(endpoint)} - [0:0]\n" for endpoint in port.endpoints)
    yield "-A PREROUTING -j KUBE-SERVICES\n"
    yield "-A OUTPUT -j KUBE-SERVICES\n"
    yield "-A POSTROUTING -j KUBE-POSTROUTING\n"
    yield f"-A KUBE-MARK-MASQ -j MARK --or-mark {MASQUERADE_MARK}\n"
    yield f"-A KUBE-POSTROUTING -m mark ! --mark {MASQUERADE_MARK}/{MASQUERADE_MARK} -j RETURN\n"
    yield f"-A KUBE-POSTROUTING -j MARK --xor-mark {MASQUERADE_MARK}\n"
    yield "-A KUBE-POSTROUTING -j MASQUERADE\n"
    for port in ports:
        if port.endpoints:
            yield from _service(port)


def _service(port: ServicePort) -> Iterator[str]:
    comment = f'-m comment --comment "{port.name}"'
    target = f"-d {port.address}/32 -p {port.protocol} {comment} --dport {port.port}"
    yield f"-A KUBE-SERVICES {target} -j {port.chain}\n"
    chains = [port.endpoint_chain(endpoint) for endpoint in port.endpoints]
    if port.affinity_seconds:
        for chain in chains:
            recent = f"-m recent --name {chain} --rcheck --seconds {port.affinity_seconds} --reap"
            yield f"-A {port.chain} {comment} {recent} -j {chain}\n"
    for index, chain in enumerate(chains):
        # Each rule takes its share of what the rules before it left.
        left = len(chains) - index
        share = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        yield f"-A {port.chain} {comment} {share}-j {chain}\n"
    for chain, endpoint in zip(chains, port.endpoints, strict=True):
        # A pod that reaches itself must get its answer through us, or it would see its own address as the caller's.
        yield f"-A {chain} -s {endpoint.rpartition(':')[0]}/32 -j KUBE-MARK-MASQ\n"
        recent = f"-m recent --name {chain} --set " if port.affinity_seconds else ""
        yield f"-A {chain} {recent}-p {port.protocol} -j DNAT --to-destination {endpoint}\n"
