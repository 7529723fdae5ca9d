"""`x-request-id`: a random UUID of version 4, made without a system call.

Shell by nature (randomness), and the only one that makes ids. Reference: RFC 9562 §5.4; Envoy's uuid request id extension.
"""

from __future__ import annotations

import random

_random = random.SystemRandom()
_stream = random.Random(_random.getrandbits(256))  # noqa: S311  # unique, not secret


def generate() -> bytes:
    """For example `f81d4fae-7dec-41d0-a765-00a0c91e6bf6`."""
    digits = b"%032x" % (_stream.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62)
    return b"-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
