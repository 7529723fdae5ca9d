"""What others add to a write: changes to an object before it is checked, and checks that need other objects.

The injector is a mutator; a Gateway that must exist, an analyzer's complaint, is a validator. The API runs them in
the order given. They see the store through `Reader` only.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from control.resources.kind import Kind, Object, Verdict
from control.store.interface import Reader


@dataclass(frozen=True, slots=True)
class Review:
    """One object about to be written. `old` is what is stored, None on CREATE."""

    operation: Literal["CREATE", "UPDATE"]
    kind: Kind
    namespace: str | None
    object: Object
    old: Object | None
    reader: Reader
    dry_run: bool


# A mutator returns the object to store instead, and may raise `Denied`; it never changes the one given.
Mutator = Callable[[Review], Awaitable[Object]]
# A validator's errors refuse the write; its warnings go to the client.
Validator = Callable[[Review], Awaitable[Verdict]]


class Denied(Exception):
    """A mutator refuses the object; the message is shown to the client."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The hooks of one API server."""

    mutators: tuple[Mutator, ...] = ()
    validators: tuple[Validator, ...] = ()
