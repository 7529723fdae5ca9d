"""The answers of the aggregated endpoint: everything, or what changed, compressed for whoever takes that.

What proxies have in common is encoded and compressed once: a part of a snapshot, and a difference between two.
Reference: ARCHITECTURE.md, `discovery:aggregated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial as partial_of
from typing import NamedTuple

import msgspec

from control.compile.part import Part
from control.compile.resource import Resource
from control.push.difference import Difference
from control.push.packed import Body, glue, pack
from control.push.snapshot import Snapshot

_encode = msgspec.json.encode
_WORTH_PACKING = 4096  # bytes


class Answer(NamedTuple):
    """`packed`: the body is gzip."""

    body: bytes
    packed: bool


def whole(head: Mapping[str, object], snapshot: Snapshot, *, packed: bool) -> Answer:
    """An answer that holds everything; `head` are its other fields. `packed`: the proxy takes gzip."""
    bodies = [_everything(part) for part in snapshot.parts]
    urls = dict.fromkeys(url for found in bodies for url in found)
    pieces: list[Body] = []
    for url in urls:
        before = b"," if pieces else b""
        pieces.append(glue(before + _encode(url) + b":["))
        for number, body in enumerate(found[url] for found in bodies if url in found):
            pieces += [glue(b","), body] if number else [body]
        pieces.append(glue(b"]"))
    opening, closing = _encode(head)[:-1] + b',"resources":{', b'},"removed_resources":{}}'
    if not packed:
        return Answer(b"".join((opening, *(piece.plain for piece in pieces), closing)), False)
    return Answer(b"".join((pack(opening), *(piece.packed for piece in pieces), glue(closing).packed)), True)


def _everything(part: Part) -> Mapping[str, Body]:
    """The resources of a part by type, encoded when a proxy first asks for all of them."""
    if part.encoded is None:
        part.encoded = {
            url: Body(partial_of(_bodies, found)) for url, found in part.resources.items() if found
        }
    return part.encoded  # type: ignore[return-value]  # nobody else's


def _bodies(resources: Mapping[str, Resource]) -> tuple[bytes]:
    return (b",".join(resource.body for resource in resources.values()),)


def partial(head: Mapping[str, object], found: Difference, *, patches: bool, packed: bool) -> Answer:
    """An answer that holds a difference; without `patches` for a proxy that wants resources whole."""
    body = found.encoded.get(patches)
    if body is None:
        rest = _rest(found, patches=patches)
        body = found.encoded[patches] = Body(lambda: (rest,))
    opening, plain = _encode(head)[:-1], body.plain
    if packed and len(plain) >= _WORTH_PACKING:
        return Answer(pack(opening) + body.packed, True)
    return Answer(opening + plain, False)


def _rest(found: Difference, *, patches: bool) -> bytes:
    changed, patched = dict(found.changed), found.patched
    if not patches:
        for url, told in patched.items():
            changed[url] = changed.get(url, []) + [resource.body for _, resource in told]
        patched = {}
    pieces = [b',"resources":{', _by_type(changed), b"}"]
    if patched:
        instructions = {url: [each for each, _ in told] for url, told in patched.items()}
        pieces += [b',"patched_resources":{', _by_type(instructions), b"}"]
    pieces += [b',"removed_resources":', _encode(found.removed), b"}"]
    return b"".join(pieces)


def _by_type(bodies: Mapping[str, list[bytes]]) -> bytes:
    return b",".join(_encode(url) + b":[" + b",".join(found) + b"]" for url, found in bodies.items())
