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
# Version and variant of each id, bits 76 to 79 and 62 to 63 of its 128.
_FIXED = sum((0xF << 76 | 0x3 << 62) << 128 * place for place in range(_AT_ONCE))
_FIXED_TO = sum((0x4 << 76 | 0x2 << 62) << 128 * place for place in range(_AT_ONCE))


class RequestIds:
    """Ids from one stream of random numbers; unique, not secret."""

    __slots__ = ("_at", "_digits", "_random")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Go on with numbers of one's own."""
        self._random = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311
        self._digits = b""
        self._at = 0

    def generate(self) -> bytes:
        """For example `f81d4fae-7dec-41d0-a765-00a0c91e6bf6`."""
        at, digits = self._at, self._digits
        if at == len(digits):
            bits = self._random.getrandbits(128 * _AT_ONCE) & ~_FIXED | _FIXED_TO
            self._digits = digits = b"%0*x" % (_DIGITS * _AT_ONCE, bits)
            at = 0
        self._at = end = at + _DIGITS
        first, second, third, fourth = at + 8, at + 12, at + 16, at + 20
        return b"-".join(
            (digits[at:first], digits[first:second], digits[second:third], digits[third:fourth], digits[fourth:end])
        )  # fmt: skip


request_ids = RequestIds()
os.register_at_fork(after_in_child=request_ids.forget)
