"""An analyzer: what it looks for, in which kinds, and a pure function that looks at one object among the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from control.analysis.message import Message
from control.analysis.snapshot import Snapshot
from control.resources.kind import Kind, Object

# Says what is wrong with an object of the snapshot. The object is valid, and changed by nobody.
Check = Callable[[Object, Snapshot], Iterator[Message]]


@dataclass(frozen=True, slots=True)
class Analyzer:
    """`needs` are the kinds it asks the snapshot for; without them it finds nothing, or too much.

    `at_apply`: it also runs when an object is applied, so it must be about that object and cost little."""

    name: str
    description: str
    kinds: tuple[Kind, ...]
    needs: tuple[Kind, ...]
    check: Check
    at_apply: bool = True
