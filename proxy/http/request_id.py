"""`x-request-id`: a random UUID of version 4, made without a system call, and many at once.

Shell by nature (randomness), and the only one that makes ids. Invariant: processes that were forked from one make ids of
their own. Reference: RFC 9562 §5.4; Envoy's uuid request id extension.
"""

from __future__ import annotations

import os
import random
from typing import Final

_AT_ONCE: Final = 64
_DIGITS: Final = 32  # of one id
_LENGTH: Final = 36  # with its hyphens
_PLACES = [place for place in range(_LENGTH) if place not in (8, 13, 18, 23)]
# Version and variant of each id, bits 76 to 79 and 62 to 63 of its 128.
_FIXED = sum((0xF << 76 | 0x3 << 62) << 128 * place for place in range(_AT_ONCE))
_FIXED_TO = sum((0x4 << 76 | 0x2 << 62) << 128 * place for place in range(_AT_ONCE))


class RequestIds:
    """Ids from one stream of random numbers; unique, not secret."""

    __slots__ = ("_at", "_made", "_random")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Go on with numbers of one's own."""
        self._random = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311
        self._made = b""
        self._at = 0

    def generate(self) -> bytes:
        """For example `f81d4fae-7dec-41d0-a765-00a0c91e6bf6`."""
        at = self._at
        if at == len(self._made):
            self._made = self._make()
            at = 0
        self._at = end = at + _LENGTH
        return self._made[at:end]

    def _make(self) -> bytes:
        """Many ids, one behind the other."""
        bits = self._random.getrandbits(128 * _AT_ONCE) & ~_FIXED | _FIXED_TO
        digits = b"%0*x" % (_DIGITS * _AT_ONCE, bits)
        made = bytearray(b"-" * (_LENGTH * _AT_ONCE))
        for digit, place in enumerate(_PLACES):  # the same digit of all of them at once
            made[place::_LENGTH] = digits[digit::_DIGITS]
        return bytes(made)


request_ids = RequestIds()
os.register_at_fork(after_in_child=request_ids.forget)
