"""The destinations a VirtualService names: the service, its subset, the port where there are several.

Reference: istio's analyzers/virtualservice (DestinationHostAnalyzer, DestinationRuleAnalyzer).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from control.analysis.analyzer import Analyzer
from control.analysis.message import PORT_SELECTOR_REQUIRED, REFERENCED_RESOURCE_NOT_FOUND, Message
from control.analysis.snapshot import Snapshot, spec
from control.resources import destination_rule, service, virtual_service
from control.resources.kind import Object

Found = tuple[str, dict[str, Any]]  # the path of a destination, and it


def destinations(obj: Object) -> Iterator[Found]:
    """Every destination of a VirtualService, those of mirrors too."""
    for protocol in ("http", "tls", "tcp"):
        for i, rule in enumerate(spec(obj).get(protocol) or ()):
            here = f"spec.{protocol}[{i}]"
            for field in ("route", "mirrors"):
                for j, entry in enumerate(rule.get(field) or ()):
                    yield f"{here}.{field}[{j}].destination", entry["destination"]
            if rule.get("mirror"):
                yield f"{here}.mirror", rule["mirror"]


def _hosts(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    for path, destination in destinations(obj):
        host = snapshot.resolve(destination["host"], obj)
        if not snapshot.has_host(host):
            yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, f"{path}.host", "host", destination["host"])
            continue
        ports = [port["port"] for port in spec(snapshot.service(host) or {}).get("ports") or ()]
        wanted = (destination.get("port") or {}).get("number")
        if wanted and ports and wanted not in ports:
            what = f"{destination['host']}:{wanted}"
            yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, f"{path}.port.number", "host:port", what)
        elif len(ports) > 1 and not wanted:
            numbers = " ".join(map(str, ports))
            yield PORT_SELECTOR_REQUIRED.about(obj, path, destination["host"], numbers)


def _subsets(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    for path, destination in destinations(obj):
        subset = destination.get("subset")
        if not subset:
            continue
        rules = snapshot.rules_for(snapshot.resolve(destination["host"], obj))
        if not any(entry["name"] == subset for rule in rules for entry in spec(rule).get("subsets") or ()):
            what = f"{destination['host']}+{subset}"
            yield REFERENCED_RESOURCE_NOT_FOUND.about(
                obj, f"{path}.subset", "host+subset in destinationrule", what
            )


HOSTS = Analyzer(
    "virtualservice.DestinationHostAnalyzer",
    "Checks the destination hosts associated with each virtual service",
    (virtual_service.KIND,),
    (service.KIND,),
    _hosts,
)
SUBSETS = Analyzer(
    "virtualservice.DestinationRuleAnalyzer",
    "Checks the destination rules associated with each virtual service",
    (virtual_service.KIND,),
    (destination_rule.KIND,),
    _subsets,
)
