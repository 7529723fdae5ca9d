"""Delegate VirtualServices: the rules of the root that delegate are replaced by the delegate's rules, narrowed.

Each match of a delegate's rule must lie inside a match of the root's, or the rule is dropped; a root rule whose delegate is
missing is dropped, too. Names in a delegate's rules are those of its own namespace.
Reference: istio's pilot/pkg/model/virtualservice.go (mergeVirtualServicesIfNeeded, mergeHTTPRoute, hasConflict).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from control.push.config import VirtualServiceConfig, resolve_gateway, resolve_host
from control.resources.destination import Destination
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
_STRINGS = ("uri", "scheme", "method", "authority")
_MAPS = ("headers", "withoutHeaders", "queryParams")


def merge_delegates(configs: Iterable[VirtualServiceConfig], domain: str) -> list[VirtualServiceConfig]:
    """Root VirtualServices with their delegates' rules in place; delegates themselves disappear. `domain` is the cluster's."""
    configs = list(configs)
    delegates = {(c.source.namespace, c.source.name): c for c in configs if not c.hosts}
    return [_merged(config, delegates, domain) for config in configs if config.hosts]


def _merged(
    root: VirtualServiceConfig, delegates: dict[tuple[str, str], VirtualServiceConfig], domain: str
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
            rules.extend(_narrowed(rule, found, domain))
    spec = root.spec.model_copy(update={"http": rules})
    return VirtualServiceConfig(root.source, root.hosts, root.gateways, root.export_to, spec)


def _narrowed(root: HTTPRoute, delegate: VirtualServiceConfig, domain: str) -> Iterator[HTTPRoute]:
    for written in delegate.spec.http or ():
        rule = _qualified(written, delegate.source.namespace, domain)
        matches = _intersect(root.match, rule.match)
        if matches is None:
            continue
        inherited = {field: getattr(root, field) for field in _INHERITED if getattr(rule, field) is None}
        name = "-".join(part for part in (root.name, rule.name) if part) or None
        yield rule.model_copy(update={**inherited, "name": name, "match": matches or None})


def is_dropped(root: HTTPRoute, rule: HTTPRoute, namespace: str) -> bool:
    """Whether a rule of a delegate of `namespace` finds no place in the root's rule that delegates to it."""
    matches = [_with_full_gateways(match, namespace) for match in rule.match or ()]
    return _intersect(root.match, matches) is None


def _qualified(rule: HTTPRoute, namespace: str, domain: str) -> HTTPRoute:
    """The rule with every short name written out, so that it means the same in the root's namespace."""

    def full(destination: Destination) -> Destination:
        return destination.model_copy(update={"host": resolve_host(destination.host, namespace, domain)})

    update: dict[str, object] = {}
    for field in ("route", "mirrors"):
        if entries := getattr(rule, field):
            update[field] = [
                entry.model_copy(update={"destination": full(entry.destination)}) for entry in entries
            ]
    if rule.mirror is not None:
        update["mirror"] = full(rule.mirror)
    if rule.match:
        update["match"] = [_with_full_gateways(match, namespace) for match in rule.match]
    return rule.model_copy(update=update)


def _with_full_gateways(match: HTTPMatchRequest, namespace: str) -> HTTPMatchRequest:
    if not match.gateways:
        return match
    return match.model_copy(
        update={"gateways": [resolve_gateway(name, namespace) for name in match.gateways]}
    )


def _intersect(
    roots: list[HTTPMatchRequest] | None, rules: list[HTTPMatchRequest] | None
) -> list[HTTPMatchRequest] | None:
    """Matches that meet both lists; empty for match-all, None when one of the delegate's lies in none of the root's."""
    if not roots or not rules:
        return list(roots or rules or [])
    found: list[HTTPMatchRequest] = []
    for rule in rules:
        inside = [_both(root, rule) for root in roots if not _conflict(root, rule)]
        if not inside:
            return None
        found += inside
    return found


def _conflict(root: HTTPMatchRequest, rule: HTTPMatchRequest) -> bool:
    if any(_strings_conflict(getattr(root, field), getattr(rule, field)) for field in _STRINGS):
        return True
    for field in _MAPS:
        ours, theirs = getattr(root, field) or {}, getattr(rule, field) or {}
        if any(_strings_conflict(ours.get(key), value) for key, value in theirs.items()):
            return True
    if root.ignoreUriCase != rule.ignoreUriCase:
        return True
    if root.port and rule.port and root.port != rule.port:
        return True
    if root.sourceNamespace and rule.sourceNamespace and root.sourceNamespace != rule.sourceNamespace:
        return True
    labels: Mapping[str, str] = root.sourceLabels or {}
    if any(labels.get(key, value) != value for key, value in (rule.sourceLabels or {}).items()):
        return True
    return bool(root.gateways and rule.gateways and set(rule.gateways) - set(root.gateways))


def _strings_conflict(wide: StringMatch | None, narrow: StringMatch | None) -> bool:
    """Whether `narrow` may take what `wide` does not. As Istio: nothing can be told of expressions and of presence."""
    if wide is None or narrow is None:
        return False
    if wide.exact:
        return narrow.exact != wide.exact
    if wide.prefix:
        return not (narrow.exact or narrow.prefix or "").startswith(wide.prefix)
    return True


def _both(root: HTTPMatchRequest, rule: HTTPMatchRequest) -> HTTPMatchRequest:
    update: dict[str, object] = {}
    for field in (*_STRINGS, "port", "sourceNamespace", "gateways", "statPrefix"):
        update[field] = getattr(rule, field) or getattr(root, field)
    for field in (*_MAPS, "sourceLabels"):
        update[field] = {**(getattr(root, field) or {}), **(getattr(rule, field) or {})} or None
    update["name"] = "-".join(part for part in (root.name, rule.name) if part) or None
    return rule.model_copy(update=update)
