"""Which endpoints a client prefers: groups of endpoints by locality, with the priorities and weights a client gives them.

Failover turns distance into priorities, and only helps where outlier detection tells who has failed; `distribute` turns shares into
weights and leaves out what it does not name. Reference: istio's pilot/pkg/networking/core/loadbalancer/loadbalancer.go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from control.push.context import Endpoint, PushContext
from control.push.proxy import Proxy
from control.registry.locality import HOSTNAME, REGION, SUBZONE, ZONE, Locality
from control.resources.load_balancer import LocalityLoadBalancerSetting

_FAILOVER_LEVELS = 5  # nearest, same zone, same region, failover region, the rest
NETWORK = "topology.istio.io/network"
# `trafficDistribution` of a Service, as the failover priority it stands for.
TRAFFIC_DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "PreferClose": (NETWORK, REGION, ZONE, SUBZONE),
    "PreferSameZone": (NETWORK, REGION, ZONE, SUBZONE),
    "PreferSameNode": (NETWORK, REGION, ZONE, SUBZONE, HOSTNAME),
}


@dataclass(frozen=True, slots=True)
class Group:
    """Endpoints of one locality and priority."""

    locality: Locality
    endpoints: tuple[Endpoint, ...]
    weight: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Client:
    """Where the caller runs, and its labels with those of its place."""

    locality: Locality
    labels: Mapping[str, str]


def client_of(context: PushContext, proxy: Proxy) -> Client:
    """The proxy itself may say where it runs; otherwise its workload does."""
    workload = context.by_ip.get(proxy.ip)
    if proxy.locality or workload is None:
        return Client(proxy.locality, {**proxy.locality.labels, **proxy.labels})
    return Client(workload.locality, workload.topology_labels)


def client_key(context: PushContext, proxy: Proxy) -> Hashable:
    """Clients that agree on this prefer the same endpoints."""
    client = client_of(context, proxy)
    keys = context.memo("failover labels", lambda: tuple(sorted(_failover_labels(context))))
    return (client.locality, tuple((key, client.labels.get(key)) for key in keys))


def _failover_labels(context: PushContext) -> set[str]:
    """The labels any failover priority looks at."""
    settings = [context.mesh.localityLbSetting]
    for rule in context.destination_rules.specs:
        for policy in (rule.trafficPolicy, *(subset.trafficPolicy for subset in rule.subsets or ())):
            levels = (policy, *(policy.portLevelSettings or ())) if policy is not None else ()
            settings += [
                level.loadBalancer.localityLbSetting
                for level in levels
                if level.loadBalancer is not None and level.loadBalancer.localityLbSetting is not None
            ]
    named = {text.partition("=")[0] for setting in settings for text in setting.failoverPriority or ()}
    for service in context.services:
        named.update(TRAFFIC_DISTRIBUTIONS.get(service.traffic_distribution, ()))
    return named


@dataclass(frozen=True, slots=True)
class Preference:
    """Who calls, and what it is told to prefer. `failover`: whether traffic may be kept from what is far."""

    locality: Locality
    labels: Mapping[str, str]
    setting: LocalityLoadBalancerSetting
    failover: bool


def by_locality(endpoints: Iterable[Endpoint]) -> list[Group]:
    """One group per locality, in the order of their names; a group weighs what its endpoints do."""
    found: dict[Locality, list[Endpoint]] = {}
    for endpoint in endpoints:
        found.setdefault(endpoint.workload.locality, []).append(endpoint)
    return [_group(locality, members) for locality, members in sorted(found.items())]


def _group(locality: Locality, endpoints: Sequence[Endpoint], priority: int = 0) -> Group:
    weight = sum(endpoint.workload.weight for endpoint in endpoints)
    return Group(locality, tuple(endpoints), weight, priority)


def prefer(groups: list[Group], preference: Preference) -> list[Group]:
    """The groups as this client is to see them."""
    setting = preference.setting
    if setting.distribute:
        return _distributed(groups, preference.locality, setting)
    if not preference.failover:
        return groups
    if setting.failoverPriority:
        groups = [
            part for group in groups for part in _split(group, preference.labels, setting.failoverPriority)
        ]
        if not setting.failover:
            return _contiguous(groups)
        groups = _contiguous(groups)
    return _contiguous([_at_distance(group, preference.locality, setting) for group in groups])


def _contiguous(groups: list[Group]) -> list[Group]:
    """Priorities renumbered from 0 without gaps: Envoy wants them so."""
    ranks = {priority: rank for rank, priority in enumerate(sorted({group.priority for group in groups}))}
    return [replace(group, priority=ranks[group.priority]) for group in groups]


def _at_distance(group: Group, here: Locality, setting: LocalityLoadBalancerSetting) -> Group:
    distance = _distance(here, group.locality)
    if distance == 3:
        region = next((_target(one) for one in setting.failover or () if _source(one) == here.region), None)
        if region is not None and region != group.locality.region:
            distance = 4
    return replace(group, priority=group.priority * _FAILOVER_LEVELS + distance)


# These two models are made with names that are not Python's, so mypy does not know their fields.
def _source(entry: object) -> str:
    return str(getattr(entry, "from"))


def _target(entry: object) -> str:
    return str(getattr(entry, "to"))  # noqa: B009


def _shares(entry: object) -> Mapping[str, int]:
    return getattr(entry, "to") or {}  # noqa: B009


def _distance(here: Locality, there: Locality) -> int:
    if here.region != there.region:
        return 3
    if here.zone != there.zone:
        return 2
    return 0 if here.sub_zone == there.sub_zone else 1


def _split(group: Group, labels: Mapping[str, str], wanted: Sequence[str]) -> list[Group]:
    """By how many labels in a row, from the first, an endpoint shares with the client; `key=value` names the value itself."""
    pairs = [text.partition("=") for text in wanted]
    values = [(key, value if given else labels.get(key)) for key, given, value in pairs]
    parts: dict[int, list[Endpoint]] = {}
    for endpoint in group.endpoints:
        theirs = endpoint.workload.topology_labels
        differing = (
            index for index, (key, value) in enumerate(values) if (value or "") != theirs.get(key, "")
        )
        first = next(differing, len(values))
        parts.setdefault(len(values) - first, []).append(endpoint)
    return [_group(group.locality, members, priority) for priority, members in sorted(parts.items())]


def _distributed(groups: list[Group], here: Locality, setting: LocalityLoadBalancerSetting) -> list[Group]:
    """The first rule for the client's locality; without one everything stays as it is."""
    for rule in setting.distribute or ():
        if here.matches(_source(rule)):
            return _shared_out(groups, _shares(rule))
    return groups


def _shared_out(groups: list[Group], shares: Mapping[str, int]) -> list[Group]:
    left = list(groups)
    found: dict[Locality, Group] = {}
    for place, share in shares.items():
        here = [group for group in left if group.locality.matches(place)]
        left = [group for group in left if group not in here]
        total = sum(group.weight for group in here)
        for group in here:
            found[group.locality] = replace(group, weight=ceil(group.weight * share / total))
    return [found[group.locality] for group in groups if group.locality in found]
