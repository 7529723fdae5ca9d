"""Tables as kubectl prints them: columns of text, three spaces apart, headings in capitals."""

from __future__ import annotations

from typing import Any

import click

_GAP = "   "


def headings(table: dict[str, Any], wide: bool, all_namespaces: bool) -> list[str]:
    shown = [c["name"].upper() for c in table["columnDefinitions"] if wide or not c["priority"]]
    return ["NAMESPACE", *shown] if all_namespaces else shown


def rows(
    table: dict[str, Any], definitions: list[dict[str, Any]], wide: bool, all_namespaces: bool
) -> list[list[str]]:
    """The cells to print, as text; the namespace comes from the row's object."""
    result = []
    for row in table["rows"]:
        cells = [
            str(cell)
            for cell, column in zip(row["cells"], definitions, strict=True)
            if wide or not column["priority"]
        ]
        meta = (row.get("object") or {}).get("metadata") or {}
        result.append([meta.get("namespace", ""), *cells] if all_namespaces else cells)
    return result


def widths(lines: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def line(cells: list[str], sizes: list[int]) -> str:
    """One line; as kubectl's, every column but the last is padded."""
    padded = [cell.ljust(size) for cell, size in zip(cells[:-1], sizes[:-1], strict=True)]
    return _GAP.join([*padded, cells[-1]])


def print_table(heading: list[str], body: list[list[str]]) -> list[int]:
    """Print and return the column widths, for rows that follow."""
    sizes = widths([heading, *body])
    click.secho(line(heading, sizes), bold=True)
    for cells in body:
        click.echo(line(cells, sizes))
    return sizes
