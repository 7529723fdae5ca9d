"""What the API would refuse, or accept with a warning. Reference: istio's analyzers/schema."""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import SCHEMA_VALIDATION_ERROR, SCHEMA_WARNING, Message
from control.analysis.regexes import invalid_regexes
from control.analysis.snapshot import Snapshot
from control.resources import local_rate_limit
from control.resources.istio_kinds import ISTIO_KINDS
from control.resources.kind import Kind, Object
from control.resources.metadata import validate_metadata

_KINDS = (*ISTIO_KINDS, local_rate_limit.KIND)


def schema_errors(kind: Kind, obj: Object) -> Iterator[Message]:
    """Of any object; an object that has some is not fit for the other analyzers."""
    for error in (*validate_metadata(obj).errors, *kind.validate(kind.default(obj)).errors):
        yield SCHEMA_VALIDATION_ERROR.about(obj, error.path, error)
    yield from invalid_regexes(obj)


def _warnings(obj: Object, _snapshot: Snapshot) -> Iterator[Message]:
    kind = next(kind for kind in _KINDS if kind.kind == obj["kind"])
    for warning in kind.validate(obj).warnings:
        path, _, _ = warning.partition(": ")
        path = path if path.startswith("spec") else warning.partition(" ")[0]
        yield SCHEMA_WARNING.about(obj, path if path.startswith("spec") else "", warning)


WARNINGS = Analyzer(
    "schema.ValidationAnalyzer",
    "Checks objects as the API does when they are applied",
    _KINDS,
    (),
    _warnings,
    at_apply=False,  # validation has already told the client
)
