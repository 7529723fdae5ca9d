"""Keys of requests. That they are Envoy's is shown in tests/conformance/balancing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from proxy.config.hash_policy import HashPolicy as Config
from proxy.config.values import decode_hook
from proxy.observability.stream_info import StreamInfo
from proxy.router.hash_policy import HashPolicy, cookie_value, hash_policy, source_ip_key
from proxy.upstream.lb.hashing import xxhash64
from tests.unit.proxy.in_memory import Mesh, connection_manager, listener, snapshot, static_cluster


@dataclass
class Request:
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    path: bytes = b"/"
    authority: bytes = b"a.test"
    method: bytes = b"GET"
    scheme: bytes = b"http"
    info: StreamInfo = field(default_factory=StreamInfo)


def request(*lines: str, path: str = "/") -> Any:
    found = Request(
        [(name.encode(), value.encode()) for name, _, value in (line.partition(": ") for line in lines)]
    )
    found.path = path.encode()
    found.info.downstream_remote_address = "10.1.2.3:4567"
    found.info.downstream_local_address = "10.0.0.9:80"
    return found


def policy(*configs: dict[str, Any]) -> HashPolicy:
    made = hash_policy(
        msgspec.json.decode(msgspec.json.encode(configs), type=list[Config], dec_hook=decode_hook)
    )
    assert made is not None
    return made


def key(of: HashPolicy, asked: Any) -> int | None:
    return of.key(asked, [])


HEADER = {"header": {"header_name": "X-Key"}}
QUERY = {"query_parameter": {"name": "q"}}
SOURCE = {"connection_properties": {"source_ip": True}}


def test_nothing_to_hash() -> None:
    assert hash_policy([]) is None
    assert key(policy(HEADER, QUERY), request()) is None
    assert key(policy({"connection_properties": {}}), request()) is None


def test_one_thing() -> None:
    assert key(policy(HEADER), request("x-key: abc")) == xxhash64(b"abc")
    assert key(policy(QUERY), request(path="/?a=b&q=abc&q=d")) == xxhash64(b"abc")
    assert key(policy(SOURCE), request()) == xxhash64(b"10.1.2.3")
    assert key(policy({"header": {"header_name": ":authority"}}), request()) == xxhash64(b"a.test")


def test_an_address_without_its_port() -> None:
    assert source_ip_key("[::1]:80") == xxhash64(b"::1")


def test_several_values_in_any_order() -> None:
    one, other = request("x-key: a", "x-key: b"), request("x-key: b", "x-key: a")
    assert key(policy(HEADER), one) == key(policy(HEADER), other) == xxhash64(b"b", xxhash64(b"a"))


def test_hashes_fold() -> None:
    a, b = xxhash64(b"a"), xxhash64(b"b")
    folded = (a << 1 & 2**64 - 1 | a >> 63) ^ b
    assert key(policy(HEADER, QUERY), request("x-key: a", path="/?q=b")) == folded
    assert key(policy(HEADER, HEADER), request("x-key: a")) not in (a, 0)
    assert key(policy(HEADER, QUERY), request(path="/?q=b")) == b


def test_terminal_ends_it_once_there_is_a_hash() -> None:
    ended = policy({**HEADER, "terminal": True}, QUERY)
    assert key(ended, request("x-key: a", path="/?q=b")) == xxhash64(b"a")
    assert key(ended, request(path="/?q=b")) == xxhash64(b"b")


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        (["cookie: c=1"], b"1"),
        (["cookie: a=0; c=1; c=2"], b"1"),
        (["cookie: a=0", "cookie: c=1"], b"1"),
        (['cookie: c="1"'], b"1"),
        (['cookie: c="'], b'"'),
        (["cookie: c=a=b"], b"a=b"),
        (["cookie: cc=1; c"], b""),
        (["cookie: c ; c=1"], b"1"),
        ([], b""),
    ],
)
def test_cookies(lines: list[str], value: bytes) -> None:
    assert cookie_value(request(*lines), b"c") == value


@pytest.mark.parametrize(
    ("fields", "attributes"),
    [
        ({"ttl": "0s"}, b"; HttpOnly"),
        ({"ttl": "60.9s"}, b"; Max-Age=60; HttpOnly"),
        ({"ttl": "0s", "path": "/p"}, b"; Path=/p; HttpOnly"),
        (
            {"ttl": "1s", "attributes": [{"name": "SameSite", "value": "Lax"}, {"name": "Secure"}]},
            b"; Max-Age=1; SameSite=Lax; Secure; HttpOnly",
        ),
    ],
)
def test_a_missing_cookie_is_made(fields: dict[str, Any], attributes: bytes) -> None:
    cookies: list[bytes] = []
    found = policy({"cookie": {"name": "c", **fields}}).key(request(), cookies)
    value = b"%016x" % xxhash64(b"10.1.2.3:456710.0.0.9:80")
    assert cookies == [b'c="%s"%s' % (value, attributes)]
    assert found == xxhash64(value)
    assert policy({"cookie": {"name": "c", **fields}}).key(request("cookie: c=1"), cookies) == xxhash64(b"1")
    assert len(cookies) == 1


def test_without_ttl_no_cookie_is_made() -> None:
    cookies: list[bytes] = []
    assert policy({"cookie": {"name": "c"}}).key(request(), cookies) is None
    assert not cookies


def test_the_response_sets_the_cookie_where_the_cluster_hashes() -> None:
    for lb_policy, wanted in (("RING_HASH", True), ("MAGLEV", True), ("ROUND_ROBIN", False)):
        hashed = [{"cookie": {"name": "c", "ttl": "0s"}}]
        route = {"match": {"prefix": "/"}, "route": {"cluster": "up", "hash_policy": hashed}}
        cluster = {**static_cluster("up", ("10.0.0.7", 80)), "lb_policy": lb_policy}
        mesh = Mesh(snapshot(clusters=[cluster], listeners=[listener(connection_manager([route]))]))
        client = mesh.client()
        client.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        mesh.run()
        mesh.upstream.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        assert (b'set-cookie: c="' in client.take()) == wanted
