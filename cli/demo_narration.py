"""How the demo's facts read on a terminal: one line each, more where there are two ends or two versions.

Decides words and colours only; a terminal without colours gets the same words. What is untrue is said in red below its line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.demo_facts import Applied, Bytes, Caught, Fact, Hop, Link, Page, Split, Started

LABEL_WIDTH = 11
BAR_WIDTH = 40
SHOWN_BYTES = 12
Lines = list[tuple[str, Text]]  # label and text of each
COLORS = {"v1": "cyan", "v2": "yellow", "v3": "red"}


def narrate(console: Console, fact: Fact) -> bool:
    """Prints a fact and what is wrong with it; False when anything is."""
    for label, text in LINES[type(fact)](fact):
        _line(console, label, text)
    problems = list(fact.wrong())
    for problem in problems:
        _line(console, "", Text(f"✗ {problem}", "bold red"))
    return not problems


def title(console: Console, text: str, more: str) -> None:
    console.print(Text.assemble((text, "bold"), "  ", (more, "dim")), highlight=False)
    console.print()


def closing(console: Console, commands: Sequence[str], end: str) -> None:
    """What to try next."""
    console.print()
    for number, command in enumerate(commands):
        _line(console, "" if number else "try next", Text(command, "bold"))
    console.print()
    console.print(Text(end, "dim"), highlight=False)


def verdict(console: Console, true: bool) -> None:
    console.print()
    said = (
        ("✓ everything told was true", "bold green")
        if true
        else ("✗ not everything told was true", "bold red")
    )
    console.print(Text(*said), highlight=False)


def _line(console: Console, label: str, text: Text) -> None:
    console.print(Text.assemble((f"{label:<{LABEL_WIDTH}}", "green")) + text, highlight=False, soft_wrap=True)


def started(fact: Started) -> Lines:
    text = Text.assemble(
        f"{fact.ready} pods in ",
        (f"{fact.seconds:.1f} s", "bold"),
        ", each a network namespace with its own sidecar; ",
        (f"{fact.memory / 2**20:.0f} MB", "bold"),
        " for all of it",
    )
    return [("started", text)]


def page(fact: Page) -> Lines:
    text = Text.assemble(
        (f"GET {fact.url}", "bold"),
        f" → {fact.status} in {fact.milliseconds:.0f} ms, reviews by {fact.reviews_pod or 'nobody'}",
    )
    return [("page", text)]


def caught(fact: Caught) -> Lines:
    width = max(len(each.pod) for each in fact.counters)
    lines = []
    for number, each in enumerate(fact.counters):
        moved = (f"{each.before} → {each.after}", "bold")
        text = Text.assemble(f"{each.pod:<{width}}  iptables {each.rule}  ", moved, " connections")
        lines.append(("" if number else "caught", text))
    return lines


def captured(fact: Bytes) -> Lines:
    width = max(len(_ends(link)) for link in (fact.app, fact.wire))
    return [
        ("app side", _link("lo", fact.app, width, first_line(fact.app.payload), "bold")),
        ("the wire", _link("eth0", fact.wire, width, hexadecimal(fact.wire.payload), "bold magenta")),
    ]


def _ends(link: Link) -> str:
    return f"{link.source.partition(':')[0]} → {link.destination}"


def _link(name: str, link: Link, width: int, shown: str, style: str) -> Text:
    kind = "TLS" if link.tls else "plain"
    return Text.assemble(
        (f"{name:<4}  {_ends(link):<{width}}  ", "dim"), (shown, style), f"  {kind}, {link.total} bytes"
    )


def first_line(payload: bytes) -> str:
    return payload.split(b"\r\n")[0].decode("latin-1")


def hexadecimal(payload: bytes) -> str:
    return payload[:SHOWN_BYTES].hex(" ") + (" …" if len(payload) > SHOWN_BYTES else "")


def hop(fact: Hop) -> Lines:
    what = f"{fact.key}, {fact.hours_left:.0f} h left; seen by the server, held by the client"
    return [
        ("identity", Text.assemble((fact.client, "bold"), " proved itself to")),
        ("", Text(fact.server, "bold")),
        ("proof", Text.assemble(("certificate ", ""), (f"{fact.presented[:16]}…", "bold"), f"  {what}")),
    ]


def applied(fact: Applied) -> Lines:
    before = " ".join(f"{version} {number}" for version, number in sorted(fact.before.items()))
    seen = "not followed" if fact.seen_after is None else _followed(round(fact.seen_after * 1000))
    return [
        ("before", Text(f"{sum(fact.before.values())} requests without a route: {before}")),
        ("canary", Text.assemble((fact.command, "bold"), f"  {seen}")),
    ]


def _followed(milliseconds: int) -> str:
    """0: the first request after the command was routed so."""
    return f"followed {milliseconds} ms later" if milliseconds else "followed at once"


def split(fact: Split) -> Lines:
    lines = []
    for number, version in enumerate(sorted(fact.counts)):
        bar = "█" * max(1, round(fact.share(version) * BAR_WIDTH))
        count = f"{version} {fact.counts[version]:>4} of {fact.total}  {fact.share(version):6.1%}  "
        lines.append(("" if number else "split", Text.assemble(count, (bar, COLORS.get(version, "")))))
    return lines


LINES: dict[type[Any], Callable[[Any], Lines]] = {
    Started: started,
    Page: page,
    Caught: caught,
    Bytes: captured,
    Hop: hop,
    Applied: applied,
    Split: split,
}
