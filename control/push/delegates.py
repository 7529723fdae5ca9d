"""Delegate VirtualServices: the rules of the root that delegate are replaced by the delegate's rules, narrowed.

Each merged match must satisfy both the root's and the delegate's; those that contradict are dropped, and so is a root rule whose
delegate is missing. Reference: istio's pilot/pkg/model/virtualservice.go (mergeVirtualServicesIfNeeded, mergeHTTPRoute).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from control.push.config import VirtualServiceConfig
from control.resources.http_rule import HTTPMatchRequest, HTTPRoute
from control.resources.istio_types import StringMatch

_INHERITED = (
    "timeout",
    "retries",
    "rewrite",
    "headers",
    "fault",
    "mirror",
    "mirrors",
    "mirrorPercentage",
    "corsPolicy",
)


def merge_delegates(configs: Iterable[VirtualServiceConfig]) -> list[VirtualServiceConfig]:
    """Root VirtualServices with their delegates' rules in place; delegates themselves disappear."""
    configs = list(configs)
    delegates = {(c.source.namespace, c.source.name): c for c in configs if not c.hosts}
    return [_merged(config, delegates) for config in configs if config.hosts]


def _merged(
    root: VirtualServiceConfig, delegates: dict[tuple[str, str], VirtualServiceConfig]
) -> VirtualServiceConfig:
    if not any(rule.delegate for rule in root.spec.http or ()):
        return root
    rules: list[HTTPRoute] = []
    for rule in root.spec.http or ():
        if rule.delegate is None:
            rules.append(rule)
            continue
        found = delegates.get((rule.delegate.namespace or root.source.namespace, rule.delegate.name))
        if found is not None and found.visible_from(root.source.namespace):
            rules.extend(_narrowed(rule, found))
    spec = root.spec.model_copy(update={"http": rules})
    return VirtualServiceConfig(root.source, root.hosts, root.gateways, root.export_to, spec)


def _narrowed(root: HTTPRoute, delegate: VirtualServiceConfig) -> Iterator[HTTPRoute]:
    for rule in delegate.spec.http or ():
        matches = _intersect(root.match, rule.match)
        if matches is None:
            continue
        inherited = {field: getattr(root, field) for field in _INHERITED if getattr(rule, field) is None}
        name = "-".join(part for part in (root.name, rule.name) if part) or None
        yield rule.model_copy(update={**inherited, "name": name, "match": matches or None})


def _intersect(
    roots: list[HTTPMatchRequest] | None, rules: list[HTTPMatchRequest] | None
) -> list[HTTPMatchRequest] | None:
    """Matches that meet both lists; empty for match-all, None when they contradict."""
    if not roots or not rules:
        return list(roots or rules or [])
    both = [merged for root in roots for rule in rules if (merged := _both(root, rule)) is not None]
    return both or None


def _both(root: HTTPMatchRequest, rule: HTTPMatchRequest) -> HTTPMatchRequest | None:
    update: dict[str, object] = {}
    for field in ("uri", "scheme", "method", "authority"):
        ours, theirs = getattr(root, field), getattr(rule, field)
        if ours is not None and theirs is not None and not _contains(ours, theirs):
            return None
        update[field] = theirs or ours
    for field in ("headers", "withoutHeaders", "queryParams", "sourceLabels"):
        ours, theirs = getattr(root, field) or {}, getattr(rule, field) or {}
        if any(ours[key] != theirs[key] for key in ours.keys() & theirs.keys()):
            return None
        update[field] = {**ours, **theirs} or None
    for field in ("port", "sourceNamespace"):
        ours, theirs = getattr(root, field), getattr(rule, field)
        if ours is not None and theirs is not None and ours != theirs:
            return None
        update[field] = theirs if theirs is not None else ours
    update["gateways"] = rule.gateways or root.gateways
    update["name"] = "-".join(part for part in (root.name, rule.name) if part) or None
    return rule.model_copy(update=update)


def _contains(wide: StringMatch, narrow: StringMatch) -> bool:
    """Whether everything `narrow` matches is matched by `wide`; expressions contain only themselves."""
    if wide == narrow:
        return True
    if wide.prefix is not None:
        return (narrow.exact or narrow.prefix or "").startswith(wide.prefix)
    return False
