"""RE2 expressions: which ones Envoy takes, and what Istio says of the others.

Reference: istio's validateStringMatchRegexp; the words are those of Go's regexp/syntax, which Istio prints.
"""

from __future__ import annotations

import json

from proxy.config.regex import MAX_PROGRAM_SIZE, parse_regex

MAX_LENGTH = 1024  # bytes; istio's validateStringMatchRegexp

# RE2's words to Go's; what is quoted follows.
_GO_WORDS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid named capture group": "invalid named capture",
    "trailing \\": "trailing backslash at end of expression",
}


def regex_problem(text: str, where: str) -> str | None:
    """Why an expression is refused; `where` is the field as Istio names it."""
    field = json.dumps(where)
    if not text:
        return f"{field}: regex string match should not be empty"
    if len(text.encode()) > MAX_LENGTH:
        return f"{field}: regex is too large, max length allowed is {MAX_LENGTH}"
    try:
        size = parse_regex(text).programsize
    except ValueError as exc:
        return (
            f"{field}: error parsing regexp: {_as_go(str(exc))}; Istio uses RE2 style regex-based match "
            "(https://github.com/google/re2/wiki/Syntax)"
        )
    if size > MAX_PROGRAM_SIZE:
        return (
            f"{field}: regex program size of {size} is greater than the max of {MAX_PROGRAM_SIZE} Envoy takes"
        )
    return None


def _as_go(why: str) -> str:
    words, _, quoted = why.partition(": ")
    return f"{_GO_WORDS.get(words, words)}: `{quoted}`"
