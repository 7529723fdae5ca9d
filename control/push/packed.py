"""Bytes of an answer and the same compressed, made once for all who get them.

gzip members may follow each other, so an answer is put together from pieces that were compressed on their own. Reference: RFC 1952 §2.2.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache

_LEVEL = 3  # configuration repeats itself: more costs time and saves little


class Body:
    """A piece of an answer: `pieces` makes what it is joined from. Only the compressed form is kept."""

    def __init__(self, pieces: Callable[[], Iterable[bytes]]) -> None:
        self._pieces = pieces

    @property
    def plain(self) -> bytes:
        return b"".join(self._pieces())

    @cached_property
    def packed(self) -> bytes:
        return gzip.compress(self.plain, _LEVEL, mtime=0)


@lru_cache(maxsize=64)
def glue(text: bytes) -> Body:
    """What stands between pieces: the same few words in every answer."""
    return Body(lambda: (text,))


def pack(text: bytes) -> bytes:
    return gzip.compress(text, 1, mtime=0)
