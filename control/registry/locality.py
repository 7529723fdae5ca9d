"""Where a workload runs: region, zone and sub-zone, and where that is said.

The pod's label `istio-locality` counts before its node's topology labels. Reference: istio's pkg/config/labels, pilot/pkg/model/service.go
(GetLocalityLabel), pilot/pkg/networking/util (LocalityMatch, LbPriority).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from control.resources.kind import Object

LOCALITY_LABEL = "istio-locality"
REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
HOSTNAME = "kubernetes.io/hostname"


@dataclass(frozen=True, slots=True, order=True)
class Locality:
    """All empty: nobody said. Sorts by name."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""

    def __bool__(self) -> bool:
        return bool(self.region or self.zone or self.sub_zone)

    def __str__(self) -> str:
        return "/".join((self.region, self.zone, self.sub_zone)).rstrip("/")

    def matches(self, rule: str) -> bool:
        """Whether it is in `region[/zone[/subzone]]`; `*` and what is left out match anything."""
        region, zone, sub_zone = (*rule.split("/"), "", "")[:3]
        return (
            region in ("*", self.region)
            and zone in ("*", "", self.zone)
            and sub_zone in ("*", "", self.sub_zone)
        )

    @property
    def labels(self) -> Mapping[str, str]:
        """Topology labels of whatever is here."""
        named = {REGION: self.region, ZONE: self.zone, SUBZONE: self.sub_zone}
        return {label: value for label, value in named.items() if value}


NOWHERE = Locality()


def parse_locality(text: str) -> Locality:
    """Of `region/zone/subzone`, or `region.zone.subzone`: label values take no slash, though Istio reads both."""
    region, zone, sub_zone = (*(text if "/" in text else text.replace(".", "/")).split("/"), "", "")[:3]
    return Locality(region, zone, sub_zone)


def label_locality(labels: Mapping[str, str]) -> Locality:
    """What the labels of a pod say; NOWHERE if nothing."""
    text = labels.get(LOCALITY_LABEL)
    return parse_locality(text) if text else NOWHERE


@dataclass(frozen=True, slots=True)
class Node:
    """A machine, by name."""

    name: str
    locality: Locality


def node_from(obj: Object) -> Node:
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    return Node(meta["name"], Locality(*(labels.get(key, "") for key in (REGION, ZONE, SUBZONE))))
