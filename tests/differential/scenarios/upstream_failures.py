"""Apps that are absent, slow, rude or broken, and what the client is told: status, body, flags, details, retries."""

from __future__ import annotations

from bench.xds_shapes import NO_STREAM_LIMIT
from tests.differential.scenario import (
    CLIENT,
    OK,
    PAIR,
    SERVER,
    App,
    Json,
    Scenario,
    answer,
    app,
    by_request,
    exchange,
    get,
    serving,
)
from tests.differential.wire import Bytes, Close, Pause, Request, RequestHead, Reset, Response, Send

ONE = (CLIENT,)
HEAD = b"HTTP/1.1 200 OK\r\n"


def _garbage(name: str, data: bytes) -> Scenario:
    return exchange(name, get(), app(Request(), Send(data)))


def _fast_retry(on: str, retries: int) -> Json:
    back_off = {"base_interval": "0.025s", "max_interval": "0.25s"}
    return {"retry_policy": {"retry_on": on, "num_retries": retries, "retry_back_off": back_off}}


_ABSENT = [
    exchange("refused", get(), endpoints=("refused",)),
    exchange(
        "refused-post", get("/", "content-length: 3", method="POST", body=b"abc"), endpoints=("refused",)
    ),
    exchange("refused-head", get(method="HEAD"), endpoints=("refused",), method="HEAD"),
    exchange(
        "refused-no-retry", get(), endpoints=("refused",), action={"retry_policy": {"num_retries": 0}}, at=ONE
    ),
    Scenario(
        "refused-keeps-connection",
        (Send(get("/1")), Response(), Send(get("/2")), Response()),
        endpoints=("refused",),
        at=(CLIENT, SERVER),
    ),
    Scenario(
        "refused-then-other-host",
        tuple(step for _ in range(6) for step in (Send(get()), Response())),
        endpoints=("refused", "a"),
        ignore=("x-envoy-attempt-count",),
        distil=lambda seen: {
            "statuses": [one["line"] for one in seen["client"]],
            "headers": seen["client"][0]["headers"],
        },
        at=ONE,
    ),
]

_RUDE = [
    exchange("close-on-accept", get(), App(((Close(),),), forever=False)),
    exchange("close-after-request", get(), app(Request(), Close())),
    exchange("reset-after-request", get(), app(Request(), Reset())),
    exchange(
        "close-after-post", get("/", "content-length: 3", method="POST", body=b"abc"), app(Request(), Close())
    ),
    exchange("close-mid-head", get(), app(Request(), Send(HEAD + b"content-le"), Close())),
    exchange("close-after-head", get(), app(Request(), Send(HEAD + b"content-length: 10\r\n\r\n"), Close())),
    exchange(
        "close-mid-body", get(), app(Request(), Send(HEAD + b"content-length: 10\r\n\r\nhalf"), Close())
    ),
    exchange(
        "reset-mid-body",
        get(),
        app(Request(), Send(HEAD + b"content-length: 10\r\n\r\nhalf"), Pause(0.05), Reset()),
    ),
    exchange(
        "close-mid-chunk",
        get(),
        app(Request(), Send(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhel"), Close()),
    ),
    exchange(
        "close-between-chunks",
        get(),
        app(Request(), Send(HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"), Close()),
    ),
    Scenario(
        "close-idle-then-next",
        (Send(get("/1")), Response(), Pause(0.3), Send(get("/2")), Response()),
        apps={"a": app(Request(), Send(OK), Close())},
    ),
    Scenario(
        "close-once-then-serve",
        (Send(get("/1")), Response(), Send(get("/2")), Response()),
        apps={"a": App(((Request(), Close()), (Request(), Send(OK), Request(), Send(OK))), forever=False)},
        at=(CLIENT, SERVER),
    ),
    exchange("extra-bytes-after-answer", get(), app(Request(), Send(OK + b"EXTRA"))),
    exchange("answer-before-request", get(), App(((Send(OK), Request()),), forever=False), at=ONE),
]

_GARBAGE = [
    _garbage("answer-garbage", b"nonsense\r\n\r\n"),
    _garbage("answer-binary", b"\x00\x01\x02\x03\r\n\r\n"),
    _garbage("answer-bad-status", b"HTTP/1.1 abc OK\r\ncontent-length: 0\r\n\r\n"),
    _garbage("answer-status-99", b"HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n"),
    _garbage("answer-no-reason", b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"),
    _garbage("answer-bad-header", HEAD + b"bad header: x\r\n\r\n"),
    _garbage("answer-header-nul", HEAD + b"x-a: a\x00b\r\n\r\n"),
    _garbage("answer-two-lengths", HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok"),
    _garbage("answer-length-text", HEAD + b"content-length: two\r\n\r\nok"),
    _garbage(
        "answer-length-and-chunked",
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    _garbage("answer-unknown-encoding", HEAD + b"transfer-encoding: banana\r\n\r\nok"),
    _garbage("answer-bad-chunk", HEAD + b"transfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n"),
    _garbage("answer-bad-chunk-later", HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\nxyz\r\n"),
    _garbage("answer-headers-101", answer(b"ok", *[f"x-h{i}: {i}" for i in range(101)])),
    _garbage("answer-headers-61k", answer(b"ok", *[f"x-large-{i}: {'v' * 6200}" for i in range(10)])),
    _garbage("answer-204-with-length", b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok"),
    _garbage(
        "answer-101-unasked", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    ),
]

_CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
_FRAMED = [
    _garbage(f"answer-{name}", HEAD + lines + b"\r\n\r\n" + body)
    for name, lines, body in (
        ("encoding-tab-behind", b"transfer-encoding: chunked\t", _CHUNKED),
        ("encoding-space-behind", b"transfer-encoding: chunked ", _CHUNKED),
        ("encoding-tab-before", b"transfer-encoding:\tchunked", _CHUNKED),
        ("encoding-upper", b"transfer-encoding: CHUNKED", _CHUNKED),
        ("encoding-gzip-chunked", b"transfer-encoding: gzip, chunked", _CHUNKED),
        ("encoding-chunked-gzip", b"transfer-encoding: chunked, gzip", _CHUNKED),
        ("encoding-identity", b"transfer-encoding: identity", b"hello"),
        ("encoding-twice", b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", _CHUNKED),
        ("length-tab-behind", b"content-length: 5\t", b"hello"),
        ("length-space-behind", b"content-length: 5 ", b"hello"),
        ("two-same-lengths", b"content-length: 5\r\ncontent-length: 5", b"hello"),
        ("length-list", b"content-length: 5, 5", b"hello"),
        ("length-plus", b"content-length: +5", b"hello"),
        ("length-empty", b"content-length:", b"hello"),
        ("chunk-too-short", b"transfer-encoding: chunked", b"3\r\nhello\r\n0\r\n\r\n"),
        ("chunk-huge-size", b"transfer-encoding: chunked", b"ffffffffffffffffff\r\nhello"),
    )
]

_TIME = [
    exchange("timeout-route", get(), app(Request(), Pause(0.8), Send(OK)), action={"timeout": "0.3s"}),
    exchange(
        "timeout-route-mid-body",
        get(),
        app(Request(), Send(HEAD + b"content-length: 10\r\n\r\nhalf"), Pause(0.8)),
        action={"timeout": "0.3s"},
        at=(CLIENT, SERVER),
    ),
    exchange(
        "timeout-beside-stream-duration",
        get(),
        app(Request(), Pause(0.6), Send(OK)),
        action={"timeout": "0.2s", "max_stream_duration": NO_STREAM_LIMIT},
        at=ONE,
    ),
    exchange("timeout-not-reached", get(), action={"timeout": "3s"}),
    exchange(
        "timeout-request-incomplete",
        get("/", "content-length: 10", method="POST", body=b"half"),
        app(RequestHead(), Pause(0.8)),
        action={"timeout": "0.3s"},
        at=ONE,
    ),
    exchange(
        "timeout-per-try",
        get(),
        app(Request(), Pause(0.8), Send(OK)),
        action={
            "timeout": "2s",
            "retry_policy": {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s"},
        },
        at=ONE,
    ),
    Scenario(
        "timeout-per-try-answers-early",
        (Send(get("/", "content-length: 4", method="POST", body=b"ab")), Pause(0.3), Send(b"cd"), Response()),
        apps={
            "a": app(
                RequestHead(),
                Send(HEAD + b"content-length: 4\r\n\r\nok"),
                Bytes(4),
                Pause(0.9),
                Send(b"ay"),
            )
        },
        action={
            "timeout": "3s",
            "retry_policy": {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.3s"},
        },
        at=ONE,
    ),
]

_RETRIES = [
    exchange(
        "retry-5xx-until-good",
        get(),
        by_request(
            (Send(answer(b"1", status="500 Internal Server Error")),),
            (Send(answer(b"2", status="503 Service Unavailable")),),
            (Send(OK),),
        ),
        action=_fast_retry("5xx", 3),
        at=(CLIENT, PAIR),
    ),
    exchange(
        "retry-5xx-exhausted",
        get(),
        serving(answer(b"no", "x-a: b", status="500 Internal Server Error")),
        action=_fast_retry("5xx", 2),
        at=(CLIENT, PAIR),
    ),
    exchange(
        "retry-gateway-error",
        get(),
        serving(answer(b"no", status="502 Bad Gateway")),
        action=_fast_retry("gateway-error", 1),
        at=ONE,
    ),
    exchange(
        "retry-not-500-for-gateway-error",
        get(),
        serving(answer(b"no", status="500 Internal Server Error")),
        action=_fast_retry("gateway-error", 1),
        at=ONE,
    ),
    exchange(
        "retry-409",
        get(),
        serving(answer(b"no", status="409 Conflict")),
        action=_fast_retry("retriable-4xx", 1),
        at=ONE,
    ),
    exchange(
        "retry-status-codes",
        get(),
        serving(answer(b"no", status="418 Teapot")),
        action={
            "retry_policy": {
                "retry_on": "retriable-status-codes",
                "num_retries": 1,
                "retriable_status_codes": [418],
            }
        },
        at=ONE,
    ),
    exchange(
        "retry-reset",
        get(),
        App(((Request(), Close()), (Request(), Send(OK))), forever=False),
        action=_fast_retry("reset", 2),
        at=ONE,
    ),
    exchange("retry-reset-exhausted", get(), app(Request(), Close()), action=_fast_retry("reset", 2), at=ONE),
    exchange(
        "retry-post-body-again",
        get("/", "content-length: 5", method="POST", body=b"hello"),
        App(((Request(), Close()), (Request(), Send(OK))), forever=False),
        action=_fast_retry("reset", 2),
        at=ONE,
    ),
    exchange("retry-default-not-503", get(), serving(answer(b"no", status="503 Service Unavailable"))),
    exchange(
        "retry-not-without-policy",
        get(),
        app(Request(), Close()),
        action={"retry_policy": {"num_retries": 0}},
        at=ONE,
    ),
]

SCENARIOS: list[Scenario] = [*_ABSENT, *_RUDE, *_GARBAGE, *_FRAMED, *_TIME, *_RETRIES]
