"""A run's document as Markdown tables, for docs/performance.md: `python -m bench.markdown [FILE]`. Pure but for reading the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.peers import PEERS
from bench.report import LABELS, cell
from bench.workloads import WORKLOADS

Document = Mapping[str, Any]
TITLES = {peer.name: peer.title for peer in PEERS}


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield row(header)
    yield "|" + "---|" * len(header)
    yield from map(row, rows)


def goals(document: Document) -> Iterator[str]:
    """What was wanted and what was measured."""
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = []
    for one in document["goals"].values():
        value = one["measured"]
        rows.append([one["goal"], one["bound"], "–" if value is None else f"{value:.2f}", words[one["met"]]])
    return table(["figure", "goal", "measured", ""], rows)


def section(document: Document, name: str) -> Iterator[str]:
    """The workloads below one heading: a line for each figure, a column for each peer, and ours over Envoy's."""
    group = [one for one in WORKLOADS if one.section == name and one.name in document["workloads"]]
    measured = [
        peer for peer in TITLES if any(peer in document["workloads"][one.name]["peers"] for one in group)
    ]
    rows = []
    for one in group:
        found = document["workloads"][one.name]
        for figure in one.show:
            ratio = found["ratio_to_envoy"].get("glassmesh", {}).get(figure)
            cells = [" ".join(cell(found["peers"].get(peer), figure)).strip() for peer in measured]
            rows.append([one.title, LABELS[figure][0], *cells, "" if ratio is None else f"{ratio:.2f}"])
    return table(["", "", *(TITLES[peer] for peer in measured), "ratio"], rows)


def whole(document: Document) -> Iterator[str]:
    """Every table of the document, each below its heading."""
    yield "### Goals\n"
    yield from goals(document)
    for name in dict.fromkeys(one.section for one in WORKLOADS if one.name in document["workloads"]):
        yield f"\n### {name}\n"
        yield from section(document, name)


def main(argv: Sequence[str]) -> None:
    file = Path(argv[0]) if argv else Path(__file__).parent / "results" / "latest.json"
    print("\n".join(whole(json.loads(file.read_text()))))


if __name__ == "__main__":
    main(sys.argv[1:])
