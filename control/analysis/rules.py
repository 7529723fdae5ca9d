"""Rules and matches of a VirtualService that no request reaches, because an earlier one takes all they would.

A match covers another when every condition of it is implied by one of the other's. Expressions are compared as texts: nothing is said
of what only their meaning would tell. Reference: istio's analyzeUnreachableHTTPRules, analyzeUnreachableTCPRules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from control.analysis.analyzer import Analyzer
from control.analysis.message import INEFFECTIVE_MATCH, UNREACHABLE_RULE, Message
from control.analysis.snapshot import Snapshot, spec
from control.resources import virtual_service
from control.resources.istio_types import host_matches
from control.resources.kind import Object

Match = Mapping[str, Any]
_ONLY_LAST = "only the last rule can have no matches"
_USED_UP = "all matches used by prior rules"
_TEXTS = ("scheme", "method", "authority")
_PRESENT = ("headers", "queryParams")
_EQUAL = ("port", "sourceNamespace", "sourceSubnet")


def _check(obj: Object, _snapshot: Snapshot) -> Iterator[Message]:
    for protocol in ("http", "tls", "tcp"):
        yield from _of_protocol(obj, protocol, spec(obj).get(protocol) or [])


def _of_protocol(obj: Object, protocol: str, rules: list[Match]) -> Iterator[Message]:
    taken: list[tuple[int, Match]] = []  # the matches of earlier rules
    matchless = False
    for index, rule in enumerate(rules):
        path = f"spec.{protocol}[{index}]"
        matches: list[Match] = rule.get("match") or []
        if matchless:
            yield UNREACHABLE_RULE.about(obj, path, named(rule, index), _ONLY_LAST)
            continue
        by = [next((i for i, earlier in taken if match_covers(earlier, m)), None) for m in matches or [{}]]
        if None not in by:
            yield UNREACHABLE_RULE.about(obj, path, named(rule, index), _USED_UP)
            continue
        for number, (match, earlier) in enumerate(zip(matches, by, strict=False)):
            if earlier is not None:
                names = named(rule, index), named(match, number), named(rules[earlier], earlier)
                yield INEFFECTIVE_MATCH.about(obj, f"{path}.match[{number}]", *names)
        taken += [(index, match) for match in matches]
        matchless = not matches and not rule.get("delegate")  # what a delegate does not match goes on


def named(thing: Match, index: int) -> str:
    """A rule or a match as Istio's messages name it: by its name, else by its number."""
    return json.dumps(thing["name"]) if thing.get("name") else f"#{index}"


def match_covers(wide: Match, narrow: Match) -> bool:
    """Whether everything `narrow` takes is taken by `wide`."""
    if not _uri_covers(wide, narrow):
        return False
    if any(not _text_covers(wide.get(field), narrow.get(field)) for field in _TEXTS if wide.get(field)):
        return False
    for field in _PRESENT:
        theirs = _lowered(narrow.get(field))
        if any(
            name not in theirs or not _text_covers(value, theirs[name])
            for name, value in _lowered(wide.get(field)).items()
        ):
            return False
    without = _lowered(narrow.get("withoutHeaders"))
    if any(without.get(name) != value for name, value in _lowered(wide.get("withoutHeaders")).items()):
        return False
    if any(wide.get(field) and wide[field] != narrow.get(field) for field in _EQUAL):
        return False
    labels = narrow.get("sourceLabels") or {}
    if any(labels.get(key) != value for key, value in (wide.get("sourceLabels") or {}).items()):
        return False
    return _list_covers(wide, narrow)


def _list_covers(wide: Match, narrow: Match) -> bool:
    """Fields of which any one value is enough."""
    gateways, subnets = wide.get("gateways"), wide.get("destinationSubnets")
    if gateways and not (narrow.get("gateways") and set(narrow["gateways"]) <= set(gateways)):
        return False
    theirs = narrow.get("destinationSubnets")
    if subnets and not (theirs and set(theirs) <= set(subnets)):
        return False
    names, narrower = wide.get("sniHosts") or (), narrow.get("sniHosts") or ()
    return not names or all(any(host_matches(w, n) for w in names) for n in narrower)


def _lowered(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name.lower(): value for name, value in (values or {}).items()}


def _uri_covers(wide: Match, narrow: Match) -> bool:
    ours, theirs = wide.get("uri") or {}, narrow.get("uri") or {}
    if ours in ({}, {"prefix": "/"}, {"regex": "*"}, {"regex": ".*"}):
        return True
    if not theirs:
        return False
    if wide.get("ignoreUriCase"):
        ours, theirs = ({kind: text.lower() for kind, text in uri.items()} for uri in (ours, theirs))
    elif narrow.get("ignoreUriCase"):
        return False
    return _text_covers(ours, theirs)


def _text_covers(wide: Match | None, narrow: Match | None) -> bool:
    """StringMatches of something that may be missing: none is any, an empty one is that it is there."""
    if narrow is None:
        return wide is None
    if not wide or wide == {"regex": "*"}:
        return True
    if "prefix" in wide:
        return str(narrow.get("prefix") or narrow.get("exact") or "").startswith(wide["prefix"])
    return wide == narrow


ANALYZER = Analyzer(
    "virtualservice.UnreachableRuleAnalyzer",
    "Checks for rules and matches of virtual services that no request can reach",
    (virtual_service.KIND,),
    (),
    _check,
)
