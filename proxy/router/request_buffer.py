"""The part of a request body that is held here: for an attempt that has no connection yet, and for a further attempt.

Never more than LIMIT bytes for a further attempt: beyond it a request cannot be retried. Knows no connection and no policy.
Reference: Envoy source/common/router/router.cc `Filter::decodeData`; the limit is the listener's
`per_connection_buffer_limit_bytes`, 1 MiB unless set, which Istio leaves unset; reference §5.8.
"""

from __future__ import annotations

LIMIT = 1024 * 1024  # bytes; exactly as many are still kept


class RequestBuffer:
    """`keeps`: what was sent is kept for a further attempt."""

    __slots__ = ("_chunks", "_size", "_unsent", "keeps")

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self._chunks: list[bytes] = []
        self._size = 0
        self._unsent = 0  # how many of the last chunks the attempt at hand has not sent

    def add(self, chunks: list[bytes]) -> None:
        """More of the body has arrived."""
        if len(chunks) > 1:
            chunks = [b"".join(chunks)]  # chunks of two bytes would take thirty times what they hold
        self._chunks += chunks
        self._unsent += len(chunks)
        self._size += sum(map(len, chunks))

    @property
    def over(self) -> bool:
        """More is held than may be kept for a further attempt."""
        return self._size > LIMIT

    @property
    def full(self) -> bool:
        """No more is to be read before something was sent."""
        return self._size >= LIMIT

    def stop_keeping(self) -> None:
        """There will be no further attempt: hold only what was not sent."""
        self.keeps = False
        self._chunks = self._chunks[len(self._chunks) - self._unsent :]
        self._size = sum(map(len, self._chunks))

    def rewind(self) -> None:
        """A further attempt begins: nothing is sent yet."""
        self._unsent = len(self._chunks)

    def take_unsent(self) -> list[bytes]:
        """What the attempt at hand is to send now."""
        unsent = self._chunks[len(self._chunks) - self._unsent :]
        self._unsent = 0
        if not self.keeps:
            self._chunks = []
            self._size = 0
        return unsent

    def __repr__(self) -> str:
        return f"<RequestBuffer {self._size} bytes, {self._unsent} chunks unsent{', kept' if self.keeps else ''}>"
