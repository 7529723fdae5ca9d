"""Running the analyzers: over everything, or over one object that is about to be stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from control.analysis import ANALYZERS
from control.analysis.analyzer import Analyzer
from control.analysis.message import Message
from control.analysis.schema import schema_errors
from control.analysis.snapshot import Snapshot
from control.resources.kind import Kind, Object


def _distinct(kinds: Iterable[Kind]) -> tuple[Kind, ...]:
    return tuple({kind.resource: kind for kind in kinds}.values())


# Every kind some analyzer looks at.
KINDS: tuple[Kind, ...] = _distinct(kind for a in ANALYZERS for kind in (*a.kinds, *a.needs))


class Findings(NamedTuple):
    """What was said, the worst first; and whether the snapshot was whole: an invalid object is not in it."""

    messages: list[Message]
    invalid: int


def analyze(objects: Mapping[str, Iterable[Object]], *, domain: str, root_namespace: str) -> Findings:
    """Everything about all objects, which are keyed by their kind's `resource`, as they would be stored."""
    by_resource = {kind.resource: kind for kind in KINDS}
    messages: list[Message] = []
    valid: dict[str, list[Object]] = {}
    invalid = 0
    for resource, found in objects.items():
        kept = valid.setdefault(resource, [])
        for obj in found:
            errors = list(schema_errors(by_resource[resource], obj))
            messages += errors
            invalid += bool(errors)
            if not errors:
                kept.append(by_resource[resource].default(obj))
    snapshot = Snapshot(valid, domain=domain, root_namespace=root_namespace)
    for analyzer in ANALYZERS:
        messages += _said(analyzer, snapshot)
    messages.sort(key=lambda m: (-m.type.level, m.type.code, m.resource))  # then as the document has it
    return Findings(list(dict.fromkeys(messages)), invalid)


def _said(analyzer: Analyzer, snapshot: Snapshot) -> Iterator[Message]:
    if all(snapshot.knows(kind) for kind in analyzer.needs):
        for kind in analyzer.kinds:
            for obj in snapshot.of(kind):
                yield from analyzer.check(obj, snapshot)


def needed_at_apply(kind: Kind) -> tuple[Kind, ...]:
    """The kinds to look at when an object of this one is applied; empty when nobody looks at it."""
    found = [a for a in ANALYZERS if a.at_apply and kind in a.kinds]
    return _distinct([kind, *(need for a in found for need in a.needs)]) if found else ()


def at_apply(kind: Kind, obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    """What is to be said about one object of the snapshot."""
    for analyzer in ANALYZERS:
        if analyzer.at_apply and kind in analyzer.kinds:
            yield from analyzer.check(obj, snapshot)
