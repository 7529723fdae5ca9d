"""Delegation between VirtualServices: the delegate exists, may be used, and is used."""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import (
    DELEGATE_RULE_DROPPED,
    NOT_A_DELEGATE,
    REFERENCED_RESOURCE_NOT_FOUND,
    UNUSED_DELEGATE,
    Message,
)
from control.analysis.rules import named
from control.analysis.snapshot import Snapshot, full_name, namespace_of, spec
from control.push.delegates import is_dropped
from control.registry.service import visible
from control.resources import virtual_service
from control.resources.http_rule import HTTPRoute
from control.resources.kind import Object


def _delegating(obj: Object) -> Iterator[tuple[int, Object, str]]:
    """The rules of a VirtualService that delegate: number, rule, full name of the delegate."""
    for index, rule in enumerate(spec(obj).get("http") or ()):
        delegate = rule.get("delegate")
        if delegate:
            yield index, rule, f"{delegate.get('namespace') or namespace_of(obj)}/{delegate['name']}"


def _check(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    for index, rule, name in _delegating(obj):
        path = f"spec.http[{index}].delegate"
        found = snapshot.virtual_service(name)
        if found is None:
            yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, path, "delegate", name)
        elif spec(found).get("hosts"):
            yield NOT_A_DELEGATE.about(obj, path, name, "it has hosts of its own")
        elif not visible(
            frozenset(spec(found).get("exportTo") or ()), namespace_of(found), namespace_of(obj)
        ):
            yield NOT_A_DELEGATE.about(
                obj, path, name, f"it is not exported to namespace {namespace_of(obj)}"
            )
        else:
            for dropped in _dropped(rule, found):
                yield DELEGATE_RULE_DROPPED.about(obj, path, dropped, name, named(rule, index))


def _dropped(rule: Object, delegate: Object) -> Iterator[str]:
    """The rules of a delegate that find no place in the root's rule."""
    root = HTTPRoute.model_validate(rule)
    for index, inner in enumerate(spec(delegate).get("http") or ()):
        if is_dropped(root, HTTPRoute.model_validate(inner), namespace_of(delegate)):
            yield named(inner, index)


def _unused(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    if spec(obj).get("hosts"):
        return
    others = snapshot.of(virtual_service.KIND)
    if not any(name == full_name(obj) for other in others for *_, name in _delegating(other)):
        yield UNUSED_DELEGATE.about(obj, "spec.hosts")


DELEGATES = Analyzer(
    "virtualservice.DelegateAnalyzer",
    "Checks the delegates of each virtual service",
    (virtual_service.KIND,),
    (virtual_service.KIND,),
    _check,
)
UNUSED = Analyzer(
    "virtualservice.UnusedDelegateAnalyzer",
    "Checks for virtual services without hosts that no other delegates to",
    (virtual_service.KIND,),
    (virtual_service.KIND,),
    _unused,
    at_apply=False,  # the delegate is applied before its root
)
