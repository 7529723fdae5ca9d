"""The hash functions against values of the reference implementations."""

from __future__ import annotations

import pytest

from proxy.upstream.lb.hashing import murmur2, xxhash64

TEXT = b"The quick brown fox jumps over the lazy dog, and the dog does not mind at all."


@pytest.mark.parametrize(
    ("data", "seed", "wanted"),
    [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"foo", 0, 0x33BF00A859C4BA3F),
        (b"foo", 1, 0xC34823C5BF4F2CBD),
        (b"10.0.0.7:8080_0", 0, 0xB2D24A5432F3E6D4),
        (b"x" * 32, 0, 0xE2DF261FC2EC30EB),
        (b"y" * 100, 0, 0xCD300B25F4B8A0BF),
    ],
)
def test_xxhash64(data: bytes, seed: int, wanted: int) -> None:
    assert xxhash64(data, seed) == wanted


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", 0x553E93901E462A6E),
        (b"a", 0x454DDEE488C1ED6B),
        (b"hello, world", 0x428B89EFD7B2EBD2),
        (b"10.0.0.7:8080_0", 0xF01DCB4C67260C2F),
    ],
)
def test_murmur2(data: bytes, wanted: int) -> None:
    assert murmur2(data) == wanted


@pytest.mark.parametrize("function", [xxhash64, murmur2])
def test_every_length_has_a_hash_of_its_own(function: object) -> None:
    found = {function(TEXT[:size]) for size in range(len(TEXT) + 1)}  # type: ignore[operator]
    assert len(found) == len(TEXT) + 1
    assert all(0 <= value < 2**64 for value in found)
