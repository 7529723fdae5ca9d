"""Below and beside HTTP: upgrades, clients that leave, opaque TCP with half-closes, and which TLS a server sidecar takes."""

from __future__ import annotations

from tests.differential import client_tls
from tests.differential.scenario import (
    CLIENT,
    PAIR,
    SERVER,
    SNIFFED,
    STRICT,
    TCP,
    Scenario,
    answer,
    app,
    exchange,
    get,
    without,
)
from tests.differential.wire import (
    Bytes,
    Close,
    HalfClose,
    Pause,
    Request,
    RequestHead,
    Reset,
    Response,
    Send,
    Step,
    ToEnd,
)

UPGRADE = get(
    "/chat",
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-version: 13",
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n\r\n"
LARGE = b"0123456789abcdef" * 40_000

_UPGRADES = [
    Scenario(
        "websocket",
        (Send(UPGRADE), Response(), Send(b"ping"), Bytes(4), Send(b"bye!"), HalfClose(), ToEnd()),
        apps={"a": app(Request(), Send(SWITCHED), Bytes(4), Send(b"pong"), Bytes(4), HalfClose(), ToEnd())},
        distil=without("log"),  # which of both ends is seen to close first is a race
    ),
    Scenario(
        "websocket-app-closes",
        (Send(UPGRADE), Response(), ToEnd()),
        apps={"a": app(Request(), Send(SWITCHED), Send(b"server first"), Pause(0.1), Close())},
    ),
    Scenario(
        "websocket-early-bytes",
        (Send(UPGRADE + b"early"), Response(), Bytes(2)),
        apps={"a": app(Request(), Send(SWITCHED), Bytes(5), Send(b"ok"))},
    ),
    Scenario(
        "websocket-refused",
        (Send(UPGRADE), Response(), Send(get("/next")), Response()),
        apps={
            "a": app(Request(), Send(answer(b"no", status="403 Forbidden")), Request(), Send(answer(b"yes")))
        },
    ),
    Scenario("websocket-no-app", (Send(UPGRADE), Response()), endpoints=("refused",)),
]


HALF = get("/", "content-length: 100", method="POST", body=b"half of it")
_LEAVES = {"closes": Close(), "resets": Reset(), "ends": HalfClose()}


def _leaving(name: str, sent: bytes, how: str, *reads: Step) -> Scenario:
    client = (Send(sent), Pause(0.3), _LEAVES[how])
    return Scenario(f"{name}-{how}", client, apps={"a": app(*reads, ToEnd())}, at=(CLIENT, SERVER))


UNREAD = get("/", "content-length: 8000000", method="POST", body=b"x" * 4_000_000)
# Envoy sees no reset of a client of which it reads no more because more was asked for; ours does, which is no scenario therefore.
_LEAVING = [
    *(_leaving("leaves-in-its-body", HALF, how, RequestHead()) for how in _LEAVES),
    *(_leaving("leaves-while-unread", UNREAD, how, RequestHead(), Pause(0.8)) for how in _LEAVES),
    *(_leaving("leaves-unanswered", get(), how, Request()) for how in _LEAVES),
    *(
        _leaving("leaves-with-two-unanswered", get("/1") + get("/2"), how, Request())
        for how in ("closes", "ends")
    ),
]


def _tcp(name: str, client: tuple[object, ...], script: tuple[object, ...], **more: object) -> Scenario:
    return Scenario(name, client, apps={"a": app(*script)}, listener=TCP, **more)  # type: ignore[arg-type]


# The pauses: a half-close that arrives with the first bytes is a race in Envoy, which peeks at them.
# A server sidecar in PERMISSIVE waits for five bytes before it knows plaintext from TLS: shorter ones stay with it.
LONG = b"a line long enough to be told from TLS\n"
_TCP = [
    _tcp(
        "tcp-echo", (Send(LONG), Bytes(4), HalfClose(), ToEnd()), (Bytes(len(LONG)), Send(b"pong"), ToEnd())
    ),
    _tcp("tcp-short", (Send(b"ping"), Bytes(4), HalfClose(), ToEnd()), (Bytes(4), Send(b"pong"), ToEnd())),
    _tcp(
        "tcp-server-first",
        (Bytes(7), Send(LONG), HalfClose(), ToEnd()),
        (Send(b"220 hi\n"), Bytes(len(LONG)), HalfClose(), ToEnd()),
    ),
    _tcp(
        "tcp-half-close-short",
        (Send(b"all"), HalfClose(), ToEnd()),
        (ToEnd(), Send(b"later"), HalfClose()),
        at=(CLIENT, PAIR),
    ),
    _tcp(
        "tcp-half-close",
        (Send(LONG), Pause(0.1), HalfClose(), ToEnd()),
        (ToEnd(), Send(b"after your end"), HalfClose()),
    ),
    _tcp(
        "tcp-server-half-close",
        (Send(LONG), ToEnd(), Send(b"after"), HalfClose()),
        (Send(b"greeting"), HalfClose(), ToEnd()),
    ),
    _tcp("tcp-large-up", (Send(LARGE), HalfClose(), ToEnd()), (ToEnd(), Send(b"got it"), HalfClose())),
    _tcp(
        "tcp-large-down", (Send(LONG), Pause(0.1), HalfClose(), ToEnd()), (ToEnd(), Send(LARGE), HalfClose())
    ),
    _tcp("tcp-server-closes", (Send(LONG), ToEnd()), (Bytes(len(LONG)), Send(b"bye"), Close())),
    _tcp("tcp-server-resets", (Send(LONG), ToEnd()), (Bytes(len(LONG)), Reset()), at=(CLIENT, SERVER)),
    _tcp("tcp-client-closes", (Send(LONG), Pause(0.1), Close()), (ToEnd(),)),
    _tcp("tcp-client-resets", (Send(LONG), Pause(0.1), Reset()), (ToEnd(),)),
    Scenario("tcp-refused", (Send(LONG), ToEnd()), listener=TCP, endpoints=("refused",)),
    Scenario("tcp-no-endpoints", (Send(LONG), ToEnd()), listener=TCP, endpoints=(), at=(CLIENT,)),
]

_TLS = [
    exchange("tls-mesh", get(), at=(SERVER,), tls=client_tls.MESH),
    exchange(
        "tls-mesh-forged-xfcc",
        get("/", "x-forwarded-client-cert: URI=spiffe://x/y"),
        at=(SERVER,),
        tls=client_tls.MESH,
    ),
    exchange("tls-mesh-strict", get(), at=(SERVER,), tls=client_tls.MESH, listener=STRICT),
    exchange("tls-mesh-sniffed", get(), at=(SERVER,), tls=client_tls.MESH, listener=SNIFFED),
    exchange("tls-no-certificate", get(), at=(SERVER,), tls=client_tls.NO_CERTIFICATE),
    exchange("tls-stranger", get(), at=(SERVER,), tls=client_tls.STRANGER),
    exchange("tls-stranger-strict", get(), at=(SERVER,), tls=client_tls.STRANGER, listener=STRICT),
    exchange("tls-users-own-named-http", get(), at=(SERVER,), tls=client_tls.USERS_OWN),
    exchange("tls-users-own-strict", get(), at=(SERVER,), tls=client_tls.USERS_OWN, listener=STRICT),
    exchange("plaintext-to-strict", get(), at=(SERVER,), listener=STRICT),
    exchange("garbage-to-strict", b"\x01\x02\x03\x04 garbage\r\n\r\n", at=(SERVER,), listener=STRICT),
    Scenario(
        "tls-mesh-tcp",
        (Send(b"ping"), Bytes(4), Close()),
        apps={"a": app(Bytes(4), Send(b"pong"), ToEnd())},
        at=(SERVER,),
        listener=TCP,
        tls=client_tls.MESH_TCP,
    ),
]

SCENARIOS: list[Scenario] = [*_UPGRADES, *_LEAVING, *_TCP, *_TLS]
