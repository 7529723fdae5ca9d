"""Where ours is known to differ from Envoy today, and why. The test demands each of these differences: one that is gone
fails it until its line is deleted here.

A name without a place stands for every place of the scenario.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.differential.scenario import Scenario


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
        "stricter: a status below 100 is no HTTP and becomes 502; Envoy passes it on without a body the client could end",
        ("answer-status-99",),
    ),
    Known(
        "quicker: bytes that cannot be TLS are known before the five that Envoy waits for",
        ("tcp-short.server",),
    ),
    Known(
        "%DOWNSTREAM_REMOTE_ADDRESS% is the address from x-forwarded-for in Envoy, also with use_remote_address false",
        ("own-forwarded",),
    ),
    Known("an empty Host is logged as the empty text it is", ("empty-host",)),
    Known(
        "a request is routed and logged when its head is whole, even when bad body bytes came with it",
        ("chunk-bad-size", "chunk-huge-size"),
    ),
    Known("a control character in the path is http1.invalid_characters", ("path-control",)),
    Known("CONNECT has no path to log", ("connect",)),
    Known("an upgrade is refused after routing: the log names route and cluster", ("upgrade-unknown",)),
    Known(
        "flags are written URX first: URX,UF and URX,UC and URX,UT",
        (
            "refused",
            "refused-post",
            "refused-head",
            "refused-keeps-connection",
            "websocket-no-app",
            "timeout-per-try",
            "retry-reset-exhausted",
        ),
    ),
    Known("the transport failure of opaque TCP is written with underscores too", ("tcp-refused",)),
    Known(
        "an app that closes inside the head is a protocol error: 502, UPE",
        ("close-mid-head",),
    ),
    Known(
        "body bytes that came with the broken chunk are not sent on",
        ("answer-bad-chunk-later",),
        always=False,
    ),
    Known(
        "a 101 nobody asked for ends the exchange; ours keeps a tunnel and adds a transfer-encoding",
        ("answer-101-unasked",),
    ),
    Known(
        "TCP over mutual TLS: an orderly end has no flag; ours logs UC",
        (
            "tcp-echo.pair",
            "tcp-short.pair",
            "tcp-server-first.pair",
            "tcp-half-close-short.pair",
            "tcp-half-close.pair",
            "tcp-large-up.pair",
            "tcp-large-down.pair",
            "tcp-client-closes.pair",
        ),
        always=False,
    ),
    Known(
        "%CONNECTION_TERMINATION_DETAILS% stays empty when the client only closes",
        ("tcp-server-half-close.pair", "tcp-server-closes.pair"),
        always=False,
    ),
    Known(
        "a reset is passed on as a reset, both ways, and logged as UR",
        ("tcp-server-resets", "tcp-client-resets"),
        always=False,
    ),
]


def find(scenario: Scenario, at: str) -> Known | None:
    """The entry of a scenario at a place."""
    names = (scenario.name, f"{scenario.name}.{at}")
    return next((known for known in KNOWN if any(name in known.names for name in names)), None)
