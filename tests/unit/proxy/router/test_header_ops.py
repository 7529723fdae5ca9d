"""What one level of operations makes of a header list; the lists are what Envoy 1.40 sent."""

from __future__ import annotations

import pytest

from proxy.config.values import HeaderValue, HeaderValueOption
from proxy.observability.stream_info import StreamInfo
from proxy.router.header_ops import apply_to_local_reply, apply_to_response, header_ops, without

Pair = tuple[bytes, bytes]


def option(
    key: str, value: str, action: str = "APPEND_IF_EXISTS_OR_ADD", keep: bool = False
) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=key, value=value), append_action=action, keep_empty_value=keep
    )


SET, ABSENT, PRESENT = "OVERWRITE_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS"


@pytest.mark.parametrize(
    ("add", "remove", "result"),
    [
        ([option("X-A", "2")], [], [(b"x-a", b"1"), (b"x-a", b"2")]),
        ([option("x-a", "2", SET)], [], [(b"x-a", b"2")]),
        ([option("x-a", "2")], ["X-A"], [(b"x-a", b"2")]),
        ([option("x-a", "2", ABSENT), option("x-b", "3", ABSENT)], [], [(b"x-a", b"1"), (b"x-b", b"3")]),
        ([option("x-a", "2", PRESENT), option("x-b", "3", PRESENT)], [], [(b"x-a", b"2")]),
        ([option("x-b", ""), option("x-c", "", keep=True)], [], [(b"x-a", b"1"), (b"x-c", b"")]),
        ([option("x-b", "%REQ(none)%"), option("x-c", "50%%")], [], [(b"x-a", b"1"), (b"x-c", b"50%")]),
    ],
)
def test_operations(add: list[HeaderValueOption], remove: list[str], result: list[Pair]) -> None:
    headers = [(b"x-a", b"1")]
    header_ops(add, remove).apply(headers, StreamInfo())
    assert headers == result


@pytest.mark.parametrize(
    ("name", "of_response", "joined"),
    [("user-agent", False, True), ("vary", True, True), ("vary", False, False), ("cookie", False, False), ("set-cookie", True, False)],
)  # fmt: skip
def test_what_is_appended_to_a_header_of_one_value_is_joined(
    name: str, of_response: bool, joined: bool
) -> None:
    headers = [(name.encode(), b"1")]
    header_ops([option(name, "2")], of_response=of_response).apply(headers, StreamInfo())
    assert headers == (
        [(name.encode(), b"1,2")] if joined else [(name.encode(), b"1"), (name.encode(), b"2")]
    )


def test_values_of_a_response_name_its_status_and_headers() -> None:
    ops = header_ops([option("y", "%RESPONSE_CODE% %RESP(x-app)%")], ["x-drop"], of_response=True)
    headers = [(b"x-app", b"a"), (b"x-drop", b"1")]
    assert apply_to_response((ops,), 207, headers, StreamInfo()) == {b"x-app": b"a", b"y": b"207 a"}


def test_values_of_a_local_reply_name_why_it_was_made() -> None:
    ops = header_ops(
        [option("y", "%RESPONSE_CODE_DETAILS% %RESP(location)%"), option("server", "mine")], of_response=True
    )
    headers = [(b"location", b"/x")]
    apply_to_local_reply((ops,), 0, "direct_response", headers, StreamInfo())
    assert headers == [(b"location", b"/x"), (b"y", b"direct_response /x")]


@pytest.mark.parametrize(
    ("told", "sent"),
    [
        ("a-b.test", b"a-b.test"),
        ("outbound_.80_._.a.b", b"outbound_.80_._.a.b"),
        ("bad\r\nname: x", b"invalid:bad__name__x"),
        ("spa ce.\u00e9", b"invalid:spa_ce._"),
    ],
)
def test_a_client_cannot_smuggle_headers_by_its_server_name(told: str, sent: bytes) -> None:
    info, headers = StreamInfo(), list[Pair]()
    info.requested_server_name = told
    header_ops([option("x-sni", "%REQUESTED_SERVER_NAME%")]).apply(headers, info)
    assert headers == [(b"x-sni", sent)]


def test_no_value_begins_a_line_of_its_own() -> None:
    info, headers = StreamInfo(), list[Pair]()
    info.downstream_peer_uri_san = "spiffe://a\r\nx-b: 1\x00"
    header_ops([option("x-a", "%DOWNSTREAM_PEER_URI_SAN%")]).apply(headers, info)
    assert headers == [(b"x-a", b"spiffe://ax-b: 1")]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"a", b"1"), (b"server", b"x"), (b"b", b"2")],
        [(b"server", b"x"), (b"a", b"1"), (b"server", b"y"), (b"b", b"2")],
        [(b"a", b"1"), (b"server", b"x"), (b"b", b"2"), (b"server", b"x")],
    ],
)
def test_without_a_header_however_often_it_came(headers: list[Pair]) -> None:
    assert without(list(headers), dict(headers), b"server") == [(b"a", b"1"), (b"b", b"2")]


def test_a_repeated_header_beside_the_one_that_goes_stays() -> None:
    headers = [(b"set-cookie", b"1"), (b"server", b"x"), (b"set-cookie", b"2")]
    assert without(list(headers), dict(headers), b"server") == [(b"set-cookie", b"1"), (b"set-cookie", b"2")]
