"""LocalRateLimits name VirtualServices and routes of them: they exist."""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import REFERENCED_RESOURCE_NOT_FOUND, Message
from control.analysis.snapshot import Snapshot, namespace_of, spec
from control.resources import local_rate_limit, virtual_service
from control.resources.kind import Object


def _check(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    for index, entry in enumerate(spec(obj).get("routes") or ()):
        path, name = f"spec.routes[{index}]", entry["virtualService"]
        found = snapshot.virtual_service(f"{namespace_of(obj)}/{name}")
        if found is None:
            yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, f"{path}.virtualService", "VirtualService", name)
            continue
        known = {rule.get("name") for rule in spec(found).get("http") or ()}
        for place, route in enumerate(entry.get("names") or ()):
            if route not in known:
                what = f"{name}/{route}"
                yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, f"{path}.names[{place}]", "route", what)


ANALYZER = Analyzer(
    "localratelimit.RouteAnalyzer",
    "Checks the virtual services and routes that rate limits name",
    (local_rate_limit.KIND,),
    (virtual_service.KIND,),
    _check,
)
