"""One compiled resource as it is sent: bytes made once for all proxies that share it, and a digest of them.

A route table is kept in pieces, a virtual host each, so that one that changed does not cost the encoding, nor the sending, of all others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from control.compile.protobuf import Message


def checksum(body: bytes) -> str:
    """What all digests and versions are made with."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


class Piece:
    """A part of a resource: its JSON and a digest of it."""

    __slots__ = ("body", "digest")

    def __init__(self, message: Message) -> None:
        self.body = msgspec.json.encode(message)
        self.digest = checksum(self.body)

    def __repr__(self) -> str:
        return f"<Piece {self.digest}>"


class Resource:
    """An xDS resource. Equal digests mean equal bodies."""

    __slots__ = ("_body", "digest", "name")

    def __init__(self, name: str, body: bytes, digest: str) -> None:
        self.name, self._body, self.digest = name, body, digest

    @property
    def body(self) -> bytes:
        return self._body

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resource) and (self.name, self.digest) == (other.name, other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.digest}>"


class Table(Resource):
    """A RouteConfiguration: `pieces` are its virtual hosts, `frame` what is before and after them."""

    __slots__ = ("frame", "pieces")

    def __init__(self, name: str, frame: tuple[bytes, bytes], pieces: Sequence[Piece]) -> None:
        text = b"\n".join((*frame, *(piece.digest.encode() for piece in pieces)))
        super().__init__(name, b"", checksum(text))
        self.frame, self.pieces = frame, tuple(pieces)

    @property
    def body(self) -> bytes:
        before, after = self.frame
        return before + b",".join(piece.body for piece in self.pieces) + after


Resources = Mapping[str, Mapping[str, Resource]]  # by type URL, then name


def resource(message: Message) -> Resource:
    body = msgspec.json.encode(message)
    name = str(message.get("name") or message.get("cluster_name"))
    return Resource(name, body, checksum(body))


def table(message: Message, pieces: Sequence[Piece]) -> Table:
    """Of a RouteConfiguration whose `virtual_hosts`, given as pieces, are left empty in `message`."""
    whole = msgspec.json.encode(message)
    before, after = whole.split(b'"virtual_hosts":[]', 1)
    return Table(str(message["name"]), (before + b'"virtual_hosts":[', b"]" + after), pieces)
