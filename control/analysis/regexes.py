"""Expressions that RE2 does not take. The API refuses them, so this speaks of files.

Reference: istio's analyzers/virtualservice/regexes.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from control.analysis.message import INVALID_REGEXP, Message
from control.resources.kind import Object
from control.resources.regex import regex_problem


def invalid_regexes(obj: Object) -> Iterator[Message]:
    """Of a VirtualService that is not valid."""
    if obj.get("kind") != "VirtualService":
        return
    for path, field, value in _regexes(obj.get("spec"), "spec", ""):
        problem = regex_problem(value, field) if value != "*" else None
        if problem:
            why = problem.partition(": ")[2].partition("; Istio uses")[0]
            yield INVALID_REGEXP.about(obj, path, field, value, why)


def _regexes(node: Any, path: str, field: str) -> Iterator[tuple[str, str, str]]:
    """Path, Istio's name for the field, and the expression."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _regexes(item, f"{path}[{index}]", field)
    elif isinstance(node, dict):
        for name, value in node.items():
            if isinstance(value, str) and (name == "regex" or (field, name) == ("uriRegexRewrite", "match")):
                yield f"{path}.{name}", field, value
            else:
                inside = field if field in ("headers", "withoutHeaders", "queryParams") else name
                yield from _regexes(value, f"{path}.{name}", inside)
