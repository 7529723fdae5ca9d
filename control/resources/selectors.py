"""Label selectors and field selectors: which objects a list, a watch or a controller means.

Pure. Reference: k8s.io/apimachinery/pkg/labels/selector.go and pkg/fields/selector.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from control.resources.kind import Object

Labels = Mapping[str, str]
Predicate = Callable[[Object], bool]

_SET = re.compile(r"(\S+)\s+(in|notin)\s*\((.*)\)")
_EQUALITY = re.compile(r"([^!=\s]+)\s*(==|=|!=)\s*(\S*)")
_KEY = re.compile(r"!?\s*[A-Za-z0-9][-A-Za-z0-9_./]*")


class BadSelector(ValueError):
    """A selector that cannot be parsed."""


def _split(text: str) -> list[str]:
    """The requirements of a selector: separated by commas that are not inside parentheses."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def parse_labels(text: str) -> Callable[[Labels], bool]:
    """`a=b,c!=d,e in (f,g),h notin (i),j,!k` as a predicate on labels. Raises BadSelector."""
    requirements = [_requirement(part) for part in _split(text)]
    return lambda labels: all(requirement(labels) for requirement in requirements)


def _requirement(part: str) -> Callable[[Labels], bool]:
    if found := _SET.fullmatch(part):
        key, operator, inside = found.groups()
        values = {value.strip() for value in inside.split(",")}
        return lambda labels: (
            (labels.get(key) in values) == (operator == "in") if key in labels else operator == "notin"
        )
    if found := _EQUALITY.fullmatch(part):
        key, operator, value = found.groups()
        return lambda labels: (labels.get(key) == value) == (operator != "!=")
    if not _KEY.fullmatch(part):
        raise BadSelector(f"unable to parse requirement: {part}")
    if part.startswith("!"):
        return lambda labels: part[1:].strip() not in labels
    return lambda labels: part in labels


def matches_label_selector(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether labels meet a LabelSelector object (`matchLabels`, `matchExpressions`)."""
    wanted: Labels = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_meets(term, labels) for term in selector.get("matchExpressions") or ())


def _meets(term: Mapping[str, Any], labels: Labels) -> bool:
    present, values = term["key"] in labels, term.get("values") or ()
    match term["operator"]:
        case "In":
            return present and labels[term["key"]] in values
        case "NotIn":
            return not present or labels[term["key"]] not in values
        case "Exists":
            return present
        case _:
            return not present


def parse_fields(text: str) -> Predicate:
    """`metadata.name=x,status.phase!=Running` as a predicate on objects; a missing field is empty. Raises BadSelector."""
    terms = []
    for part in _split(text):
        found = _EQUALITY.fullmatch(part)
        if found is None:
            raise BadSelector(f"invalid selector: '{part}'; can't understand '{part}'")
        path, operator, value = found.groups()
        terms.append((tuple(path.split(".")), operator == "!=", value))
    return lambda obj: all((_field(obj, path) == value) != negated for path, negated, value in terms)


def _field(obj: Any, path: tuple[str, ...]) -> str:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj).lower() if isinstance(obj, bool) else str(obj)
