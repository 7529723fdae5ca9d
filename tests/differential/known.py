"""Where ours is known to differ from Envoy today, and why. The test demands each of these differences: one that is gone
fails it until its line is deleted here.

The name of a scenario without a place stands for every place of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """`always` is false for a difference that timing can hide."""

    reason: str
    names: tuple[str, ...]
    always: bool = True


KNOWN: list[Known] = [
    Known(
        "stricter: RFC 9112 calls it malformed and ours answers 400; Envoy joins folded lines, drops bare CRs, overlooks a chunk that is too long",
        ("header-folded", "header-bare-cr", "chunk-too-short"),
    ),
    Known(
        "stricter: an answer breaks off where a chunk is longer than it says; Envoy passes on as much as was said and goes on",
        ("answer-chunk-too-short",),
    ),
    Known(
        "stricter: a tab behind the coding is no `chunked` to ours, which refuses the message with 501 or 502; Envoy takes it for a blank",
        ("encoding-tab-behind", "answer-encoding-tab-behind"),
    ),
    Known(
        "stricter: a status below 100 is no HTTP and becomes 502; Envoy passes it on without a body the client could end",
        ("answer-status-99",),
    ),
    Known(
        "quicker: bytes that cannot be TLS are known before the five that Envoy waits for",
        ("tcp-short.server",),
    ),
    Known("an empty Host is logged as the empty text it is", ("empty-host",)),
]


def find(name: str) -> Known | None:
    """The entry of a case, or of a scenario at a place (`name.place`)."""
    names = (name, name.rpartition(".")[0])
    return next((known for known in KNOWN if any(name in known.names for name in names)), None)
