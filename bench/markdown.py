"""A run's document as Markdown tables: `python -m bench.markdown [--figures FILE] [--into docs/performance.md]`.

A page says where its figures go by lines `<!-- figures: NAME -->` and `<!-- end -->`, so that none is copied by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import scaled
from bench.peers import PEERS
from bench.report import LABELS, cell
from bench.workloads import WORKLOADS

Document = Mapping[str, Any]
RESULTS = Path(__file__).parent / "results" / "latest.json"
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


def scale(document: Document) -> Iterator[str]:
    """Configuration at scale, by mesh size; nothing if it was not measured."""
    rows = []
    for size in (document.get("scale") or {}).get("sizes", []):
        name = f"{size['services']:,} × {size['endpoints']}"
        rows += [[name, *cells] for cells in scaled.rows(size)]
    return table(["services × endpoints", "", "Envoy", "Glassmesh", "ratio"], rows) if rows else iter(())


def source(document: Document) -> Iterator[str]:
    """When, where and what was measured."""
    machine, versions = document["machine"], document["versions"]
    named = ", ".join(f"{TITLES[name]} {version}" for name, version in versions.items() if version)
    yield (
        f"Measured {document['when'][:10]} in {document['seconds'] / 60:.0f} minutes, {document['effort']['rounds']} rounds, on {machine['cpus']} CPUs "
        f"({machine['cpu']}, Linux {machine['kernel']}, load before {machine['load_1min_before']}). {named}."
    )


def parts(document: Document) -> dict[str, Callable[[], Iterator[str]]]:
    """Every table by its name: `source`, `goals`, `scale`, and the sections of the workloads that were measured."""
    found: dict[str, Callable[[], Iterator[str]]] = {
        "source": lambda: source(document),
        "goals": lambda: goals(document),
        "scale": lambda: scale(document),
    }
    for one in WORKLOADS:
        if one.name in document["workloads"]:
            found.setdefault(one.section, partial(section, document, one.section))
    return found


def whole(document: Document) -> Iterator[str]:
    """Every table of the document, each below its heading."""
    for name, make in parts(document).items():
        yield f"\n### {name}\n"
        yield from make()


_MARKED = re.compile(r"(<!-- figures: ([^>]*) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, document: Document) -> str:
    """The text with each place between `<!-- figures: NAME -->` and `<!-- end -->` filled anew; those not measured stay."""
    known = parts(document)

    def fill(found: re.Match[str]) -> str:
        lines = list(known[found[2]]()) if found[2] in known else []
        return found[1] + "\n".join(lines) + "\n" + found[3] if lines else found[0]

    return _MARKED.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.markdown", description=__doc__)
    parser.add_argument("--figures", type=Path, default=RESULTS, help="a run's document (%(default)s)")
    parser.add_argument("--into", type=Path, help="a Markdown file whose marked places are filled")
    options = parser.parse_args()
    document = json.loads(options.figures.read_text())
    if options.into:
        options.into.write_text(filled(options.into.read_text(), document))
    else:
        print("\n".join(whole(document)))


if __name__ == "__main__":
    main()
