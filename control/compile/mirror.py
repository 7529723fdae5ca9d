"""The clusters that get a copy of a rule's requests.

Reference: istio's pilot/pkg/networking/core/route/route.go (TranslateRequestMirrorPolicyCluster, MirrorPercent).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from control.compile.protobuf import Message
from control.resources.destination import Destination
from control.resources.http_rule import HTTPRoute
from control.resources.istio_types import PercentModel

Cluster = Callable[[Destination], str]


def mirror_policies(rule: HTTPRoute, cluster: Cluster) -> list[Message]:
    """`cluster` names a destination's cluster. A share of 0 is no mirror; none at all is all requests."""
    return [
        {
            "cluster": cluster(destination),
            "runtime_fraction": {"default_value": share},
            "trace_sampled": False,
            "disable_shadow_host_suffix_append": True,
        }
        for destination, share in _mirrors(rule)
        if share["numerator"]
    ]


def _mirrors(rule: HTTPRoute) -> Iterator[tuple[Destination, Message]]:
    if rule.mirror is not None:
        yield rule.mirror, _share(rule.mirrorPercentage, rule.mirrorPercent, rule.mirror_percent)
    for policy in rule.mirrors or ():
        yield policy.destination, _share(policy.percentage)


def _share(percentage: PercentModel | None, *deprecated: int | None) -> Message:
    if percentage is not None:
        return {"numerator": int((percentage.value or 0) * 10_000), "denominator": "MILLION"}
    percent = next((one for one in deprecated if one is not None), 100)
    return {"numerator": percent, "denominator": "HUNDRED"}
