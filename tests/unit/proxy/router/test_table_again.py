"""A route table made from an earlier one answers what one made from nothing does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.decode import ROUTE, ConfigError, decode
from proxy.config.route_pieces import decode_again, join, split
from proxy.router.matcher import RouteTable, RouteTableError

DOMAINS = ["a", "A", "b.c", "*.c", "*.b.c", "a.*", "*", "d:80", "xa", "x"]
HOST = st.tuples(st.lists(st.sampled_from(DOMAINS), min_size=1, max_size=3, unique=True), st.integers(0, 1))
TABLE = st.lists(HOST, max_size=4)
ASKED = [b"a", b"A:80", b"b.c", b"x.c", b"x.b.c", b"a.x", b"d", b"nobody", b"xa", b"x"]


def raw(hosts: list[tuple[list[str], int]], frame: bool = False) -> bytes:
    virtual_hosts = [
        {
            "name": f"h{number}",
            "domains": domains,
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": f"c{value}"}}],
        }
        for number, (domains, value) in enumerate(hosts)
    ]
    message = {
        "@type": ROUTE,
        "name": "80",
        "virtual_hosts": virtual_hosts,
        "ignore_port_in_host_matching": True,
    }
    if frame:
        message["request_headers_to_remove"] = ["x"]
    return json.dumps(message, separators=(",", ":")).encode()


def table(config: Any, previous: Any = None) -> Any:
    """What it answers, or why it is refused."""
    return RouteTable(
        config, lambda host, route: (host.name, route.route and route.route.cluster), None, previous
    )


def answers(found: Any) -> list[Any]:
    return [
        found.route([], authority=host, path=b"/", method=b"GET", scheme=b"http", draw=0.0) for host in ASKED
    ]


def outcome(config: Any, previous: Any) -> tuple[list[Any], str]:
    try:
        return answers(table(config, previous)), ""
    except RouteTableError as error:
        return [], str(error)


@given(st.lists(TABLE, min_size=2, max_size=5))
def test_an_updated_table_is_the_table(tables: list[Any]) -> None:
    old_raw, config, current = b"", None, None
    for hosts in tables:
        text = raw(hosts)
        whole = decode(ROUTE, "80", text)
        again = decode_again("80", text, old_raw, config) if config is not None else whole
        assert again == whole
        wanted, refusal = outcome(whole, None)
        assert outcome(again, current) == (wanted, refusal)
        if refusal:
            continue
        current = table(again, current)
        assert answers(current) == wanted
        old_raw, config = text, again


def test_virtual_hosts_that_stay_are_the_same_objects() -> None:
    one, two = raw([(["a"], 0), (["b.c"], 0)]), raw([(["a"], 0), (["b.c"], 1)])
    first = decode(ROUTE, "80", one)
    second = decode_again("80", two, one, first)
    assert second is not None
    assert second.virtual_hosts[0] is first.virtual_hosts[0]
    assert second.virtual_hosts[1] is not first.virtual_hosts[1]


def test_what_is_wrong_with_a_virtual_host_is_named_as_in_the_whole() -> None:
    one = raw([(["a"], 0)])
    two = one.replace(b'"name":"h0"', b'"name":"h0","foo":1')
    first = decode(ROUTE, "80", one)
    with pytest.raises(ConfigError, match=r'^routes\["80"\].virtual_hosts\[0\].foo: not implemented$'):
        decode(ROUTE, "80", two)
    with pytest.raises(ConfigError, match=r'^routes\["80"\].virtual_hosts\[0\].foo: not implemented$'):
        decode_again("80", two, one, first)


def test_another_frame_or_form_is_read_whole() -> None:
    one = raw([(["a"], 0)])
    config = decode(ROUTE, "80", one)
    assert decode_again("80", raw([(["a"], 0)], frame=True), one, config) is None
    assert split(json.dumps(json.loads(one), indent=1).encode()) is None
    pieces = split(one)
    assert pieces is not None
    assert join(pieces) == one
    assert split(b"{") is None
