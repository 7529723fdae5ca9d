"""Regular expressions as Envoy has them: RE2, compiled when configuration arrives, in time linear in the text they are run over.

Decides which patterns may be used, and must not know what for. Patterns and texts are bytes, one character each: Envoy
compiles in Latin-1, so `.` takes one byte of a UTF-8 sequence. A pattern has the size its RE2 program has; Istio's
bootstrap sets the limit (`re2.max_program_size.error_level`), Envoy's own of 100 is for proxies nobody configured.
Invariant: no pattern that got past `compile_regex` can hang or grow without bound.
Reference: Envoy source/common/common/regex.cc; Istio tools/packaging/common/envoy_bootstrap.json.
"""

from __future__ import annotations

from typing import Any

MAX_PROGRAM_SIZE = 32768
_COMMON_PREFIX = 64  # bytes of a pattern's literal beginning worth knowing


def compile_regex(pattern: str) -> Any:
    """A compiled pattern over bytes, with the interface of `re`. Raises ValueError in Envoy's words."""
    compiled = parse_regex(pattern)
    if compiled.programsize > MAX_PROGRAM_SIZE:
        raise ValueError(
            f"regex '{pattern}' RE2 program size of {compiled.programsize} > max program size of {MAX_PROGRAM_SIZE}"
        )
    return compiled


def parse_regex(pattern: str) -> Any:
    """As `compile_regex`, of whatever size; `programsize` tells it. Raises ValueError in RE2's words.

    RE2 is imported when a pattern comes: most configurations have none, and it takes 2.5 MB.
    """
    import re2

    try:
        return re2.compile(pattern.encode(), _options(re2))
    except re2.error as error:
        why = error.args[0] if error.args else error
        raise ValueError(why.decode(errors="replace") if isinstance(why, bytes) else str(why)) from None


def literal_prefix(pattern: str) -> bytes:
    """Bytes that every full match of a valid pattern begins with; often empty."""
    import re2

    try:
        anchored = re2.compile(b"\\A(?:" + pattern.encode() + b")", _options(re2))
        least, most = anchored.possiblematchrange(_COMMON_PREFIX)
    except re2.error:  # it may match anything
        return b""
    length = next(
        (at for at, (one, other) in enumerate(zip(least, most, strict=False)) if one != other), len(least)
    )
    return bytes(least[:length])


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.log_errors = False  # the caller is told
    options.encoding = re2.Options.Encoding.LATIN1
    return options
