"""Which uids and gids exist inside a rootless mesh, and how they are asked for.

Inside, 0 is the user who started the mesh; 1 to 65535 come from the user's subordinate range, so that the sidecar's
1337 and the app's 1000 exist. Decides from the text of /etc/subuid alone. Reference: subuid(5), newuidmap(1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

NEEDED = 65535


class NoSubordinateRange(Exception):
    """The user has no subordinate ids; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class Range:
    """`count` outside ids from `first` on."""

    first: int
    count: int


def subordinate_range(lines: Iterable[str], user: str, uid: int, path: str) -> Range:
    """The first range of /etc/subuid (or subgid) that is wide enough; the owner is named or numbered."""
    for line in lines:
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if owner in (user, str(uid)) and first.isdigit() and count.isdigit() and int(count) >= NEEDED:
            return Range(int(first), int(count))
    raise NoSubordinateRange(
        f"{path} gives {user} no range of {NEEDED} ids (root can add one: usermod --add-subuids 100000-165535 "
        f"--add-subgids 100000-165535 {user})"
    )


def map_command(tool: str, pid: int, own_id: int, ids: Range) -> list[str]:
    """The newuidmap or newgidmap command that maps process `pid`: triples of inside, outside and count."""
    return [tool, str(pid), "0", str(own_id), "1", "1", str(ids.first), str(NEEDED)]
