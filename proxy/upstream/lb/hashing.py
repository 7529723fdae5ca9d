"""The two hash functions of consistent hashing: xxHash64, and MurmurHash2 (64 bits, variant A).

In Python: a request hashes one short key, and a ring keeps what it has hashed (measured: 2 µs for a key below 32 bytes), so a
compiled binding would not earn its memory in every sidecar. Reference: the xxHash specification (XXH64); Appleby's MurmurHash2.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import unpack_from

Hash = Callable[[bytes], int]

_MASK = 2**64 - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def xxhash64(data: bytes, seed: int = 0) -> int:
    """XXH64 of `data`."""
    size = len(data)
    at = size & ~31
    value = (_stripes(data, at, seed) if at else seed + _P5) + size
    while at + 8 <= size:
        (lane,) = unpack_from("<Q", data, at)
        lane = lane * _P2 & _MASK
        lane = (lane << 31 | lane >> 33) * _P1 & _MASK
        value = (value ^ lane) & _MASK
        value = (value << 27 | value >> 37) * _P1 + _P4 & _MASK
        at += 8
    if at + 4 <= size:
        (word,) = unpack_from("<I", data, at)
        value = (value ^ word * _P1) & _MASK
        value = (value << 23 | value >> 41) * _P2 + _P3 & _MASK
        at += 4
    for byte in data[at:]:
        value = (value ^ byte * _P5) & _MASK
        value = (value << 11 | value >> 53) * _P1 & _MASK
    value &= _MASK
    value = (value ^ value >> 33) * _P2 & _MASK
    value = (value ^ value >> 29) * _P3 & _MASK
    return value ^ value >> 32


def _stripes(data: bytes, end: int, seed: int) -> int:
    """The accumulators over whole stripes of 32 bytes, merged."""
    lanes = [seed + _P1 + _P2, seed + _P2, seed, seed - _P1]
    for at in range(0, end, 32):
        for i, word in enumerate(unpack_from("<4Q", data, at)):
            lane = lanes[i] + word * _P2 & _MASK
            lanes[i] = (lane << 31 | lane >> 33) * _P1 & _MASK
    value = sum(
        (lane << turn | lane >> 64 - turn) & _MASK for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True)
    )
    for lane in lanes:
        lane = lane * _P2 & _MASK
        lane = (lane << 31 | lane >> 33) * _P1 & _MASK
        value = ((value ^ lane) * _P1 + _P4) & _MASK
    return value


_M = 0xC6A4A7935BD1E995
_MURMUR_SEED = 0xC70F6907  # that of libstdc++, which Envoy uses


def murmur2(data: bytes, seed: int = _MURMUR_SEED) -> int:
    """MurmurHash64A of `data`."""
    size = len(data)
    value = (seed ^ size * _M) & _MASK
    end = size & ~7
    for (word,) in ((unpack_from("<Q", data, at)) for at in range(0, end, 8)):
        word = word * _M & _MASK
        word = (word ^ word >> 47) * _M & _MASK
        value = (value ^ word) * _M & _MASK
    if end < size:
        value = (value ^ int.from_bytes(data[end:], "little")) * _M & _MASK
    value = (value ^ value >> 47) * _M & _MASK
    return value ^ value >> 47


HASH_FUNCTIONS: dict[str, Hash] = {"XX_HASH": xxhash64, "MURMUR_HASH_2": murmur2}
