"""A message as far as it has arrived: what codecs fill, and connection manager and router read.

Values, which know no codec. A base class, not a protocol: compiled code reads the attributes of a class it knows directly.
Invariant: `headers` is complete when a message becomes visible; after `complete` it never changes.
"""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]


class Message:
    """`fields` indexes the headers as received by name, for single-valued look-ups; of a repeated name it holds the last
    value. `spelling` is how names were written, by name in lower case, where it is to be kept.
    """

    __slots__ = ("chunks", "complete", "fields", "headers", "trailers")
    spelling: dict[bytes, bytes] | None = None

    headers: Headers
    fields: dict[bytes, bytes]
    chunks: list[bytes]
    complete: bool
    trailers: Headers | None
    """Set only when there are some, before `complete`."""

    def take(self) -> list[bytes]:
        """Take away the body bytes that have arrived."""
        chunks = self.chunks
        self.chunks = []
        return chunks


class UpstreamResponse(Message):
    """`status` 0: no final head yet. `reusable`: after this response the connection may carry another request."""

    __slots__ = ("reusable", "status")

    status: int
    reusable: bool
