"""An explanation of a request's way as text: from the client to the endpoints, one line per step."""

from __future__ import annotations

from collections.abc import Iterator

import click

from control.explain.destinations import Destination, EndpointView
from control.explain.route import Explanation, PassedOver

_LABEL = 16
_MOST_ENDPOINTS = 8


def text(found: Explanation, workload: str) -> str:
    """Coloured; click takes the colours out where they would not show."""
    return "\n".join(_lines(found, workload))


def _lines(found: Explanation, workload: str) -> Iterator[str]:
    yield f"{click.style(found.request, bold=True)}  from {click.style(workload, bold=True)}"
    yield ""
    if found.address:
        yield _step("address", found.address)
    if found.listener:
        yield _step("listener", found.listener, found.listener_why)
    if found.filter_chain:
        yield _step("filter chain", found.filter_chain, f"saw {found.saw}" if found.saw else "")
    if found.route_table:
        yield _step("route table", found.route_table)
    if found.virtual_host:
        yield _step("virtual host", found.virtual_host, f"domain {found.domain}" if found.domain else "")
    for index, one in enumerate(found.passed_over):
        yield _passed_over("passed over" if not index else "", one)
    if found.route_number is not None:
        yield from _route(found)
    for index, effect in enumerate(found.does):
        yield _step("does" if not index else "", effect)
    for destination in found.destinations:
        yield from _destination(destination)
    if found.outcome:
        yield _step("answer", click.style(found.outcome, fg="red", bold=True))
    for index, note in enumerate(found.notes):
        yield _step("note" if not index else "", click.style(note, fg="yellow"))


def _step(label: str, value: str, aside: str = "") -> str:
    shown = click.style(label.ljust(_LABEL), fg="cyan")
    return f"  {shown}{value}" + (click.style(f"   {aside}", dim=True) if aside else "")


def _passed_over(label: str, one: PassedOver) -> str:
    which = " ".join(part for part in (_number(one.number), one.name, one.rule) if part)
    why = f"wants: {one.why}" if one.number is not None else one.why
    return _step(label, click.style(f"{which}   ", dim=True) + click.style(why, fg="yellow"))


def _number(number: int | None) -> str:
    return f"#{number}" if number is not None else "–"


def _route(found: Explanation) -> Iterator[str]:
    which = f"{_number(found.route_number)} {found.route}".rstrip()
    origin = f"VirtualService {found.virtual_service} {found.rule}".rstrip() if found.virtual_service else ""
    yield _step("route", click.style(which, fg="green", bold=True), origin)
    for index, condition in enumerate(found.matched):
        yield _step("matches" if not index else "", condition)


def _destination(one: Destination) -> Iterator[str]:
    share = f"{one.share:.0%}".rjust(4) if one.share < 1 else "all "
    where = (
        f"{one.host}{f' port {one.port}' if one.port else ''}{f' subset {one.subset}' if one.subset else ''}"
    )
    yield _step(f"to  {share}", click.style(where, fg="green", bold=True), one.cluster if one.port else "")
    for endpoint in one.endpoints[:_MOST_ENDPOINTS]:
        yield _step("", _endpoint(endpoint))
    if len(one.endpoints) > _MOST_ENDPOINTS:
        yield _step("", f"and {len(one.endpoints) - _MOST_ENDPOINTS} more")
    if one.outcome:
        yield _step("", click.style(one.outcome, fg="red"))


def _endpoint(one: EndpointView) -> str:
    parts = [one.address, one.workload, one.locality]
    if one.health != "HEALTHY":
        parts.append(one.health)
    if one.priority:
        parts.append(f"priority {one.priority}")
    if one.weight != 1:
        parts.append(f"weight {one.weight}")
    return "  ".join(filter(None, parts))
