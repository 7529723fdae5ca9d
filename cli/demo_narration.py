"""How the demo's facts read on a terminal: one line each, two where both ends of a hop are named.

Decides words and colours only; a terminal without colours gets the same words. What is untrue is said in red below its line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.demo_facts import Applied, Bytes, Caught, Fact, Hop, Link, Page, Split, Started

LABEL_WIDTH = 10
BAR_WIDTH = 40
SHOWN_BYTES = 16
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


def closing(console: Console, commands: list[tuple[str, str]], end: str) -> None:
    """The commands to try next."""
    for number, (command, what) in enumerate(commands):
        _line(console, "" if number else "try next", Text.assemble((command, "bold"), f"  {what}"))
    console.print()
    console.print(Text(end, "dim"), highlight=False)


def _line(console: Console, label: str, text: Text) -> None:
    console.print(Text.assemble((f"{label:<{LABEL_WIDTH}}", "green")) + text, highlight=False, soft_wrap=True)


def started(fact: Started) -> list[tuple[str, Text]]:
    text = Text.assemble(
        f"{fact.ready} pods, each a network namespace with its own sidecar: first answer after ",
        (f"{fact.seconds:.1f} s", "bold"),
        ", memory ",
        (f"{fact.memory / 2**20:.0f} MB", "bold"),
        " in all",
    )
    return [("started", text)]


def page(fact: Page) -> list[tuple[str, Text]]:
    text = Text.assemble(
        (f"GET {fact.url}", "bold"),
        f" → {fact.status} in {fact.milliseconds:.0f} ms, reviews by {fact.reviews_pod or 'nobody'}",
    )
    return [("page", text)]


def caught(fact: Caught) -> list[tuple[str, Text]]:
    lines = []
    for number, each in enumerate(fact.counters):
        text = Text.assemble(
            f"iptables of {each.pod}: {each.rule}, connections ",
            str(each.before),
            " → ",
            (str(each.after), "bold"),
        )
        lines.append(("" if number else "caught", text))
    return lines


def captured(fact: Bytes) -> list[tuple[str, Text]]:
    return [
        ("app side", _link("lo  ", fact.app, first_line(fact.app.payload), "bold")),
        ("the wire", _link("eth0", fact.wire, hexadecimal(fact.wire.payload), "bold magenta")),
    ]


def _link(name: str, link: Link, shown: str, style: str) -> Text:
    where = f"{name} {link.source} → {link.destination}  "
    return Text.assemble((where, "dim"), (shown, style), f"  {describe(link)}")


def describe(link: Link) -> str:
    if not link.total:
        return "nothing"
    return f"TLS, {link.total} bytes" if link.tls else f"plain, {link.total} bytes"


def first_line(payload: bytes) -> str:
    return payload.split(b"\r\n")[0].decode("latin-1")


def hexadecimal(payload: bytes) -> str:
    return payload[:SHOWN_BYTES].hex(" ") + (" …" if len(payload) > SHOWN_BYTES else "")


def hop(fact: Hop) -> list[tuple[str, Text]]:
    return [
        ("identity", Text.assemble((fact.client, "bold"), " proved itself to")),
        ("", Text(fact.server, "bold")),
        (
            "proof",
            Text(
                f"certificate {fact.held[:16]}…, {fact.key}, {fact.hours_left:.0f} h left: the one its sidecar holds"
            ),
        ),
    ]


def applied(fact: Applied) -> list[tuple[str, Text]]:
    before = ", ".join(f"{version} {number}" for version, number in sorted(fact.before.items()))
    seen = "not followed" if fact.seen_after is None else f"followed after {fact.seen_after * 1000:.0f} ms"
    return [("canary", Text.assemble(f"before: {before}.  ", (fact.command, "bold"), f"  {seen}"))]


def split(fact: Split) -> list[tuple[str, Text]]:
    text = Text(f"{fact.total} requests: ")
    for version in sorted(fact.counts):
        bar = "█" * max(1, round(fact.share(version) * BAR_WIDTH))
        text += Text.assemble(
            f"{version} {fact.counts[version]} ({fact.share(version):.1%}) ",
            (bar, COLORS.get(version, "")),
            "  ",
        )
    return [("split", text)]


LINES: dict[type[Any], Callable[[Any], list[tuple[str, Text]]]] = {
    Started: started,
    Page: page,
    Caught: caught,
    Bytes: captured,
    Hop: hop,
    Applied: applied,
    Split: split,
}
