"""Whether one side did what a case's `expect` demands. Both sides must: two that are wrong alike would pass a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tests.differential.case.model import Bounds, Json, Request, Together
from tests.differential.case.observe import stats_of
from tests.differential.case.place import Placed

Unmet = Iterator[tuple[str, Any]]
"""What was wanted, and what was got."""


def unmet(placed: Placed, seen: Json) -> dict[str, Any]:
    """Every demand that was not met, with what was seen instead."""
    return dict([*_of_requests(placed, seen), *_of_case(placed, seen)])


def _of_requests(placed: Placed, seen: Json) -> Unmet:
    lines = _log_by_request(placed, seen)
    for number, request in enumerate(_requests(placed)):
        if number >= len(seen["client"]):
            yield f"request {number}", "not sent"
            continue
        answer = seen["client"][number]
        for what, got in _of_request(request, answer, lines[number] if lines else {}):
            yield f"request {number}: {what}", got


def _requests(placed: Placed) -> Iterator[Request]:
    for step in placed.case.requests:
        for request in step.together if isinstance(step, Together) else [step]:
            if isinstance(request, Request):
                for _ in range(request.repeat):
                    yield request


def _log_by_request(placed: Placed, seen: Json) -> list[Json]:
    """The first sidecar's log lines, when each is of the request in its place."""
    role = "server" if placed.case.at == "server" else "client"
    lines: list[Json] = seen["log"][role]
    together = any(isinstance(step, Together) for step in placed.case.requests)
    concurrent = together or any(request.at_once > 1 for request in _requests(placed))
    return [] if concurrent or len(lines) != len(seen["client"]) else lines


def _of_request(request: Request, answer: Json, line: Json) -> Unmet:
    expect = request.expect
    if expect.status is not None:
        wanted = expect.status if isinstance(expect.status, list) else [expect.status]
        got = answer.get("line", answer.get("failure", "")).removeprefix("HTTP/1.1 ").partition(" ")[0]
        if got not in map(str, wanted):
            yield f"status {expect.status}", answer.get("line", answer.get("failure"))
    if expect.body is not None and answer.get("body") != expect.body:
        yield f"body {expect.body!r}", answer.get("body")
    if expect.app is not None and not _from(answer.get("body"), expect.app):
        yield f"an answer of app {expect.app}", answer.get("body")
    headers = {name.lower(): value for name, value in answer.get("headers", ())}
    for name, value in expect.headers.items():
        if headers.get(name.lower()) != value:
            yield f"header {name}: {value}", headers.get(name.lower())
    for name in ("flags", "details"):
        demanded = getattr(expect, name)
        if demanded is not None and line.get(name) != demanded:
            yield f"{name} {demanded}", line.get(name, "no log line for this request")
    if expect.took and not expect.took[0] <= answer.get("took", -1) <= expect.took[1]:
        yield f"took {expect.took[0]:g} to {expect.took[1]:g} s", answer.get("took")


def _from(body: object, apps: str | list[str]) -> bool:
    names = apps if isinstance(apps, list) else [apps]
    return isinstance(body, str) and any(body == name or body.startswith(f"{name}-") for name in names)


def _of_case(placed: Placed, seen: Json) -> Unmet:
    expect = placed.case.expect
    served: Counter[str] = Counter()
    for pod in placed.pods:
        served[pod.name] = len(seen["upstream"][pod.name])
        if pod.app != pod.name:
            served[pod.app] += served[pod.name]
    yield from _bounded("requests at {}", expect.upstream, served)
    total = sum(served[pod.name] for pod in placed.pods)
    for name, (low, high) in expect.share.items():
        if not total or not low <= served[name] / total <= high:
            yield f"share of {name} {low:g} to {high:g}", f"{served[name]} of {total}"
    statuses = Counter(
        int(answer["line"].split(" ")[1]) if "line" in answer else 0 for answer in seen["client"]
    )
    yield from _bounded("answers {}", expect.statuses, statuses)
    for name, bounds in expect.stats.items():
        got = sum(stats_of(placed, seen["stats"], [name]).values())
        yield from _bounded("stat {}", {name: bounds}, {name: got})


def _bounded(what: str, wanted: Mapping[Any, Bounds], got: Mapping[Any, int]) -> Unmet:
    for name, bounds in wanted.items():
        low, high = bounds if isinstance(bounds, tuple) else (bounds, bounds)
        if not low <= got[name] <= high:
            yield f"{what.format(name)}: {low:g} to {high:g}", got[name]
