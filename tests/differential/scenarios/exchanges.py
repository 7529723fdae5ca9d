"""Well-formed requests and answers: methods, bodies, framing, headers added and taken, keep-alive, pipelining."""

from __future__ import annotations

from tests.differential.scenario import (
    CLIENT,
    OK,
    App,
    Scenario,
    answer,
    app,
    exchange,
    get,
    serving,
    without,
)
from tests.differential.wire import Bytes, HalfClose, Interim, Pause, Request, RequestHead, Response, Send

LARGE = b"0123456789abcdef" * 20_000
CHUNKED = b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"
CHUNKED_WITH_TRAILER = b"5\r\nhello\r\n0\r\nx-trailer: one\r\n\r\n"

_METHODS = [
    exchange(f"method-{method.lower()}", get(method=method), method=method)
    for method in ("GET", "DELETE", "OPTIONS", "PATCH", "PUT", "TRACE", "PROPFIND")
]

_BODIES = [
    exchange("post-content-length", get("/p", "content-length: 5", method="POST", body=b"hello")),
    exchange("post-empty", get("/p", "content-length: 0", method="POST")),
    exchange("post-no-length", get("/p", method="POST")),
    exchange("post-large", get("/p", f"content-length: {len(LARGE)}", method="POST", body=LARGE)),
    exchange("post-chunked", get("/p", "transfer-encoding: chunked", method="POST", body=CHUNKED)),
    exchange("post-chunked-upper", get("/p", "Transfer-Encoding: Chunked", method="POST", body=CHUNKED)),
    exchange(
        "post-chunked-trailers",
        get(
            "/p", "transfer-encoding: chunked", "trailer: x-trailer", method="POST", body=CHUNKED_WITH_TRAILER
        ),
    ),
    exchange("get-with-body", get("/g", "content-length: 3", body=b"abc")),
    exchange("answer-large", get(), serving(answer(LARGE))),
    exchange(
        "answer-chunked", get(), serving(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNKED)
    ),
    exchange(
        "answer-chunked-trailers",
        get("/", "te: trailers"),
        serving(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-trailer\r\n\r\n"
            + CHUNKED_WITH_TRAILER
        ),
    ),
    exchange(
        "answer-until-close",
        get(),
        App(((Request(), Send(b"HTTP/1.1 200 OK\r\nx-a: b\r\n\r\nto the end"), HalfClose()),), forever=False),
    ),
    exchange("answer-http10", get(), serving(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    exchange(
        "answer-http10-keep-alive",
        get(),
        serving(b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"),
    ),
    exchange("answer-204", get(), serving(b"HTTP/1.1 204 No Content\r\n\r\n")),
    exchange(
        "answer-304",
        get("/", 'if-none-match: "a"'),
        serving(b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n'),
    ),
    exchange("answer-304-length", get(), serving(b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n")),
    exchange("answer-empty", get(), serving(answer(b""))),
    exchange("answer-own-reason", get(), serving(answer(b"x", status="299 Peculiar"))),
    exchange("answer-500", get(), serving(answer(b"broken", status="500 Internal Server Error"))),
    exchange(
        "answer-503", get(), serving(answer(b"busy", "retry-after: 1", status="503 Service Unavailable"))
    ),
    exchange(
        "head", get(method="HEAD"), serving(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"), method="HEAD"
    ),
    exchange(
        "head-chunked",
        get(method="HEAD"),
        serving(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        method="HEAD",
    ),
    exchange("head-no-length", get(method="HEAD"), serving(b"HTTP/1.1 200 OK\r\n\r\n"), method="HEAD"),
    exchange(
        "answer-early",
        get("/p", "content-length: 10", method="POST", body=b"half-"),
        App(((RequestHead(), Send(answer(b"no", status="413 Payload Too Large"))),), forever=False),
    ),
]

_HEADERS = [
    exchange(
        "header-case",
        get("/", "X-Mixed-Case: Value", "ACCEPT: */*"),
        serving(answer(b"ok", "X-Answer-Case: Yes")),
    ),
    exchange(
        "header-repeated",
        get("/", "x-a: 1", "x-b: 2", "x-a: 3"),
        serving(answer(b"ok", "set-cookie: a=1", "set-cookie: b=2")),
    ),
    exchange("header-empty-value", get("/", "x-empty:", "x-space:   "), serving(answer(b"ok", "x-empty:"))),
    exchange("header-spaces", get("/", "x-a:   spaced out   "), serving(answer(b"ok", "x-b:\t tabbed \t"))),
    exchange(
        "header-utf8", get("/", "x-name: gr\u00fc\u00df"), serving(answer(b"ok", "x-name: gr\u00fc\u00df"))
    ),
    exchange(
        "hop-by-hop",
        get(
            "/",
            "connection: x-drop, keep-alive",
            "keep-alive: 5",
            "x-drop: a",
            "proxy-connection: keep-alive",
            "te: gzip",
        ),
    ),
    exchange(
        "hop-by-hop-answer",
        get(),
        serving(answer(b"ok", "connection: x-drop", "keep-alive: 5", "x-drop: a", "proxy-connection: close")),
    ),
    exchange("te-trailers", get("/", "te: trailers, gzip")),
    exchange("connection-close", get("/", "connection: close")),
    exchange(
        "connection-close-answer",
        get(),
        App(((Request(), Send(answer(b"ok", "connection: close"))),), forever=False),
    ),
    exchange("own-request-id", get("/", "x-request-id: 11111111-2222-4333-8444-555555555555")),
    exchange("odd-request-id", get("/", "x-request-id: mine")),
    exchange(
        "own-forwarded",
        get("/", "x-forwarded-for: 10.1.1.1", "x-forwarded-proto: https", "x-forwarded-host: a.b"),
    ),
    exchange("bad-forwarded-proto", get("/", "x-forwarded-proto: gopher")),
    exchange("forged-xfcc", get("/", "x-forwarded-client-cert: By=spiffe://a/b;Hash=1;URI=spiffe://c/d")),
    exchange(
        "envoy-headers-stripped",
        get(
            "/",
            "x-envoy-max-retries: 9",
            "x-envoy-upstream-rq-timeout-ms: 1",
            "x-envoy-internal: true",
            "x-envoy-force-trace: 1",
            "x-envoy-retry-on: 5xx",
            "x-envoy-expected-rq-timeout-ms: 3",
        ),
    ),
    exchange("envoy-attempt-forged", get("/", "x-envoy-attempt-count: 7")),
    exchange("envoy-original-path-forged", get("/", "x-envoy-original-path: /secret")),
    exchange("decorator-forged", get("/", "x-envoy-decorator-operation: mine")),
    exchange(
        "answer-own-server",
        get(),
        serving(answer(b"ok", "server: gunicorn", "date: Mon, 01 Jan 2024 00:00:00 GMT")),
    ),
    exchange(
        "answer-envoy-headers",
        get(),
        serving(
            answer(
                b"ok",
                "x-envoy-upstream-service-time: 77",
                "x-envoy-attempt-count: 5",
                "x-envoy-decorator-operation: a",
            )
        ),
    ),
    exchange("user-agent", get("/", "user-agent: test/1.0")),
    exchange("cookie-two", get("/", "cookie: a=1", "cookie: b=2")),
    exchange("expect-other", get("/p", "expect: something", "content-length: 2", method="POST", body=b"ab")),
    exchange("headers-100", get("/", *[f"x-h{i}: {i}" for i in range(90)])),
    exchange("headers-large-59k", get("/", *[f"x-large-{i}: {'v' * 5900}" for i in range(10)])),
    exchange(
        "answer-headers-large",
        get(),
        serving(answer(b"ok", *[f"x-large-{i}: {'v' * 5000}" for i in range(10)])),
    ),
    exchange("host-upper", get().replace(b"host: {host}", b"HOST: {host}")),
    exchange(
        "host-upper-value", b"GET / HTTP/1.1\r\nhost: HOST-UPPER-VALUE.client.TEST\r\n\r\n", at=(CLIENT,)
    ),
    exchange("host-with-port", get().replace(b"{host}", b"{host}:8080")),
]

_CONNECTIONS = [
    Scenario(
        "keep-alive", (Send(get("/1")), Response(), Send(get("/2")), Response(), Send(get("/3")), Response())
    ),
    Scenario(
        "keep-alive-post",
        (
            Send(get("/1", "content-length: 2", method="POST", body=b"ab")),
            Response(),
            Send(get("/2")),
            Response(),
        ),
    ),
    Scenario(
        "keep-alive-after-404",
        (Send(get("/1").replace(b"{host}", b"nowhere")), Response(), Send(get("/2")), Response()),
    ),
    Scenario("pipelined", (Send(get("/1") + get("/2") + get("/3")), Response(), Response(), Response())),
    Scenario(
        "pipelined-posts",
        (
            Send(
                get("/1", "content-length: 3", method="POST", body=b"one")
                + get("/2", "transfer-encoding: chunked", method="POST", body=CHUNKED)
            ),
            Response(),
            Response(),
        ),
    ),
    Scenario("pipelined-then-bad", (Send(get("/1") + b"BAD\r\n\r\n"), Response(), Response())),
    Scenario(
        "byte-by-byte",
        (*[Send(bytes([b])) for b in get("/slow")[:30]], Pause(0.02), Send(get("/slow")[30:]), Response()),
    ),
    Scenario("blank-lines-before", (Send(b"\r\n\r\n" + get("/b")), Response())),
    # Envoy takes a half-close for a disconnect; whether the app saw the request by then is a race.
    Scenario(
        "half-close-after-request", (Send(get("/h")), HalfClose(), Response()), distil=without("apps", "log")
    ),
    Scenario(
        "half-close-mid-request",
        (Send(get("/h", "content-length: 10", method="POST", body=b"half")), HalfClose(), Response()),
        distil=without("apps", "log"),
    ),
    Scenario(
        "expect-continue",
        (
            Send(get("/p", "expect: 100-continue", "content-length: 4", method="POST")),
            Interim(),
            Send(b"body"),
            Response(),
        ),
        apps={"a": App(((RequestHead(), Send(b"HTTP/1.1 100 Continue\r\n\r\n"), Bytes(4), Send(OK)),))},
    ),
    Scenario(
        "expect-continue-body-at-once",
        (
            Send(get("/p", "expect: 100-continue", "content-length: 4", method="POST", body=b"body")),
            Response(),
        ),
        apps={"a": App(((RequestHead(), Send(b"HTTP/1.1 100 Continue\r\n\r\n"), Bytes(4), Send(OK)),))},
    ),
    Scenario(
        "expect-continue-refused",
        (Send(get("/p", "expect: 100-continue", "content-length: 4", method="POST")), Response()),
        apps={"a": app(RequestHead(), Send(answer(b"no", status="417 Expectation Failed")))},
    ),
    exchange(
        "early-hints",
        get(),
        serving(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n" + OK),
    ),
    exchange("processing-102", get(), serving(b"HTTP/1.1 102 Processing\r\n\r\n" + OK)),
]

SCENARIOS = [*_METHODS, *_BODIES, *_HEADERS, *_CONNECTIONS]
