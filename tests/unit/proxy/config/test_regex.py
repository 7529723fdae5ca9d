"""Patterns as Envoy 1.40 takes and refuses them: RE2 over Latin-1, bounded in size, linear in time."""

from __future__ import annotations

import re

import pytest

from proxy.config.regex import MAX_PROGRAM_SIZE, compile_regex, literal_prefix


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("(?=a)b", "invalid perl operator: (?="),
        ("(?!a)b", "invalid perl operator: (?!"),
        ("(?<=a)b", "invalid perl operator: (?<="),
        ("a++", "bad repetition operator: ++"),
        ("[", "missing ]: ["),
        ("*", "no argument for repetition operator: *"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("(?:a{1000}){2}", "invalid repetition size: {2}"),
    ],
)
def test_what_re2_refuses(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        compile_regex(pattern)


def test_a_program_beyond_istios_limit_is_refused() -> None:
    with pytest.raises(
        ValueError, match=f"RE2 program size of 66004 > max program size of {MAX_PROGRAM_SIZE}"
    ):
        compile_regex(".{1000}" * 33)
    assert compile_regex(".{1000}" * 16).programsize < MAX_PROGRAM_SIZE


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_pattern_hangs(pattern: str) -> None:
    # `re` would take longer than any test may.
    assert compile_regex(pattern).fullmatch(b"a" * 60_000 + b"!") is None


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [(".", b"\xe9", True), (".", "é".encode(), False), ("..", "é".encode(), True), ("é", "é".encode(), True),
     (r"\xe9", b"\xe9", True), (r"\pL+", b"\xe9", True), (".*", b"a\nb", False), ("a$", b"a\n", False)],
)  # fmt: skip
def test_a_byte_is_a_character(pattern: str, text: bytes, matches: bool) -> None:
    assert (compile_regex(pattern).fullmatch(text) is not None) is matches


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("/v[0-9]+/.*", b"/v"), ("/api", b"/api"), ("(?i)/api", b"/"), ("/a|/b", b"/"), ("/api?", b"/ap"), (".*", b""),
     ("[a-z]+", b""), ("/a{0}b", b"/b"), (r"\Q/a.b\E.*", b"/a."), ("(/a|/ab)", b"/a"), ("", b"")],
)  # fmt: skip
def test_the_text_all_matches_begin_with(pattern: str, prefix: bytes) -> None:
    assert literal_prefix(pattern) == prefix
