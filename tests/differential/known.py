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
        "content-length: 0 is added to methods that may have a body (OPTIONS, PROPFIND), as Envoy adds it to all but GET, HEAD, DELETE, TRACE, CONNECT",
        ("method-options", "method-propfind"),
    ),
    Known("content-length: 0 is added to a 304", ("answer-304",)),
    Known(
        "%DOWNSTREAM_REMOTE_ADDRESS% is the address from x-forwarded-for in Envoy, also with use_remote_address false",
        ("own-forwarded",),
    ),
    Known(
        "include_request_attempt_count overwrites the header a client sent",
        ("envoy-attempt-forged.client", "envoy-attempt-forged.pair"),
    ),
    Known(
        "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% takes the header a client sent, and that of the sidecar before",
        ("envoy-original-path-forged", "rewrite-prefix.pair", "rewrite-regex.pair"),
    ),
    Known(
        "%PROTOCOL% of a request refused for its version is HTTP/1.1 in Envoy",
        ("bad-no-version", "http10", "http10-no-host"),
    ),
    Known("an empty Host is logged as the empty text it is", ("empty-host",)),
    Known(
        "a request is routed and logged when its head is whole, even when bad body bytes came with it",
        ("chunk-bad-size", "chunk-huge-size"),
    ),
    Known("a control character in the path is http1.invalid_characters", ("path-control",)),
    Known(
        "an absolute-form target of another scheme is 400 http1.invalid_scheme",
        ("path-absolute-other-scheme",),
    ),
    Known("CONNECT has no path to log", ("connect",)),
    Known("an upgrade is refused after routing: the log names route and cluster", ("upgrade-unknown",)),
    Known(
        "a direct answer before the request's body was read closes the connection",
        ("host-unknown-502-post", "direct-200-post"),
    ),
    Known("%UPSTREAM_CLUSTER_RAW% is empty when the cluster is unknown", ("cluster-unknown",)),
    Known(
        "a host rewrite leaves x-envoy-original-host, and %REQ(:AUTHORITY)% is the new host",
        ("rewrite-prefix-host", "rewrite-host"),
    ),
    Known("a rewrite that matches nothing still leaves x-envoy-original-path", ("rewrite-regex-no-match",)),
    Known("%ROUTE_NAME% of a nameless route is -", ("direct-empty", "direct-head", "direct-headers")),
    Known(
        "refused connections: the order of flags is URX,UF, the transport failure is written with underscores, body bytes count as received",
        (
            "refused",
            "refused-post",
            "refused-head",
            "refused-no-retry",
            "refused-keeps-connection",
            "websocket-no-app",
            "tcp-refused",
        ),
    ),
    Known("the order of flags is URX,UT and URX,UC", ("timeout-per-try", "retry-reset-exhausted")),
    Known(
        "an app that closes inside the head, or resets inside the body, is a protocol error: 502, UPE",
        ("close-mid-head", "reset-mid-body"),
    ),
    Known("an unknown transfer-encoding in an answer is 502, UPE", ("answer-unknown-encoding",)),
    Known(
        "body bytes that came with the broken chunk are not sent on",
        ("answer-bad-chunk-later",),
        always=False,
    ),
    Known("an answer with more than 100 headers is 502, UPE", ("answer-headers-101",)),
    Known("a 204 with content-length is 502, UPE", ("answer-204-with-length",)),
    Known(
        "a 101 nobody asked for ends the exchange; ours keeps a tunnel and adds a transfer-encoding",
        ("answer-101-unasked",),
    ),
    Known(
        "x-envoy-expected-rq-timeout-ms of a first attempt is the whole timeout",
        (
            "timeout-route.client",
            "timeout-route.server",
            "timeout-route-mid-body",
            "timeout-not-reached.client",
            "timeout-not-reached.server",
            "timeout-request-incomplete",
        ),
        always=False,
    ),
    Known(
        "a route with max_stream_duration has no timeout: Envoy ignores `timeout` beside it, also when it is 0s",
        ("timeout-beside-stream-duration",),
    ),
    Known(
        "max_stream_duration is not enforced: 504 downstream duration timeout, max_duration_timeout",
        ("stream-duration",),
    ),
    Known(
        "a 101 through two sidecars says server: envoy once", ("websocket.pair", "websocket-early-bytes.pair")
    ),
    Known(
        "a tunnel that the app ends is UC, upstream_reset_after_response_started{connection_termination}",
        ("websocket-app-closes",),
    ),
    Known(
        "TCP over mutual TLS: an orderly end is logged as UC; a half-close is no end",
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
        ("tcp-server-half-close.pair", "tcp-server-closes.pair", "tcp-client-closes.server"),
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
