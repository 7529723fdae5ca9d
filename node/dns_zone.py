"""What the cluster's names mean: Services and pods below `cluster.local`.

Pure: from a name and a type to an answer. Knows no wire format. Reference: Kubernetes "DNS-Based Service Discovery" specification 1.1.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from node.api_client import Object
from node.cache import Key

DOMAIN = "cluster.local"
TTL = 5  # seconds, as the cluster's name server


@dataclass(frozen=True, slots=True)
class Answer:
    """`records` are (owner, type, data) in presentation form. `ours` False: not a name of the cluster."""

    ours: bool
    exists: bool
    records: tuple[tuple[str, str, str], ...] = ()


NOT_OURS = Answer(False, False)
NO_NAME = Answer(True, False)
NO_DATA = Answer(True, True)

Find = Callable[[Key], Object | None]


class Zone:
    """Answers from the Services and Endpoints of the moment; `fixed` maps full names to addresses of the mesh's own."""

    def __init__(
        self,
        service: Find,
        endpoints: Find,
        namespaces: Callable[[], Iterable[str]],
        fixed: Mapping[str, str],
    ) -> None:
        self._service = service
        self._endpoints = endpoints
        self._namespaces = namespaces
        self._fixed = fixed

    def __repr__(self) -> str:
        return f"<Zone {DOMAIN}>"

    def lookup(self, name: str, kind: str) -> Answer:
        """`name` without the last dot, any case; `kind` such as A, AAAA, SRV."""
        name = name.lower()
        if name in self._fixed:
            return _answer(name, kind, [("A", self._fixed[name])])
        if name == DOMAIN:
            return NO_DATA
        if not name.endswith("." + DOMAIN):
            return NOT_OURS
        labels = name.removesuffix("." + DOMAIN).split(".")
        if labels[-1] == "svc":
            return self._below_svc(name, kind, labels[:-1])
        if labels[-1] == "pod" and len(labels) == 3:
            return self._pod(name, kind, labels[0])
        return NO_DATA if labels == ["pod"] else NO_NAME

    def _below_svc(self, name: str, kind: str, labels: list[str]) -> Answer:
        if len(labels) < 2:
            known = not labels or labels[0] in set(self._namespaces())
            return NO_DATA if known else NO_NAME
        namespace, service_name, further = labels[-1], labels[-2], labels[:-2]
        service = self._service((namespace, service_name))
        if service is None:
            return NO_NAME
        spec = service["spec"]
        if len(further) == 2 and all(label.startswith("_") for label in further):
            return self._ports(name, kind, service, further[0][1:], further[1][1:])
        if spec.get("type") == "ExternalName" and not further:
            return Answer(True, True, ((name, "CNAME", spec["externalName"].rstrip(".") + "."),))
        if spec.get("clusterIP") != "None":
            return NO_NAME if further else _answer(name, kind, [("A", spec.get("clusterIP", ""))])
        addresses = [
            (_host(address), address["ip"]) for address in _ready(self._endpoints((namespace, service_name)))
        ]
        if len(further) == 1:
            addresses = [pair for pair in addresses if pair[0] == further[0]]
        if further and (len(further) > 1 or not addresses):
            return NO_NAME
        return _answer(name, kind, [("A", ip) for _, ip in addresses])

    def _ports(self, name: str, kind: str, service: Object, port_name: str, protocol: str) -> Answer:
        for port in service["spec"].get("ports") or []:
            if port.get("name") == port_name and port.get("protocol", "TCP").lower() == protocol:
                target = name.split(".", 2)[2]
                return _answer(name, kind, [("SRV", f"0 100 {port['port']} {target}.")])
        return NO_NAME

    def _pod(self, name: str, kind: str, dashed: str) -> Answer:
        parts = dashed.split("-")
        if len(parts) != 4 or not all(part.isdigit() and int(part) < 256 for part in parts):
            return NO_NAME
        return _answer(name, kind, [("A", ".".join(parts))])


def _answer(name: str, kind: str, records: list[tuple[str, str]]) -> Answer:
    found = tuple((name, record, data) for record, data in records if record == kind and data)
    return Answer(True, True, found)


def _ready(endpoints: Object | None) -> Iterator[Object]:
    for subset in (endpoints or {}).get("subsets") or []:
        yield from subset.get("addresses") or []


def _host(address: Object) -> str:
    """The label of one endpoint of a headless Service: its hostname, else its address with dashes."""
    return str(address.get("hostname") or address["ip"].replace(".", "-"))
