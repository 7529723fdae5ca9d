"""The key of a request for consistent hashing: from its headers, cookies, query or source address.

Decides the 64 bits, and the cookie to be set where one is missing and the route wants one made. Knows no hosts. Invariant: the
same request from the same connection has the same key. Reference: Envoy source/common/http/hash_policy.cc, Utility::makeSetCookieValue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from proxy.config.hash_policy import HashedCookie
from proxy.config.hash_policy import HashPolicy as HashPolicyConfig
from proxy.router.stream import DownstreamStream
from proxy.upstream.lb.hashing import xxhash64

_MASK = 2**64 - 1
Cookies = list[bytes]
"""Values of the `set-cookie` headers the response is to get."""
Method = Callable[[DownstreamStream, Cookies], int | None]
_PSEUDO: dict[bytes, Callable[[DownstreamStream], bytes]] = {
    b":authority": lambda stream: stream.authority,
    b"host": lambda stream: stream.authority,
    b":path": lambda stream: stream.path,
    b":method": lambda stream: stream.method,
    b":scheme": lambda stream: stream.scheme,
}


@dataclass(frozen=True, slots=True)
class HashPolicy:
    """The methods of a route in order, each with whether it is terminal."""

    methods: tuple[tuple[Method, bool], ...]

    def key(self, stream: DownstreamStream, cookies: Cookies) -> int | None:
        """The hashes of all methods that find something, folded; None when none does. May add to `cookies`."""
        key: int | None = None
        for method, terminal in self.methods:
            found = method(stream, cookies)
            if found is not None:
                # Turned, so that two equal hashes do not cancel each other out.
                key = found if key is None else (key << 1 & _MASK | key >> 63) ^ found
            if terminal and key is not None:
                break
        return key


def hash_policy(configs: Iterable[HashPolicyConfig]) -> HashPolicy | None:
    """None when nothing is to be hashed."""
    methods = tuple((_method(config), config.terminal) for config in configs)
    return HashPolicy(methods) if methods else None


def _method(config: HashPolicyConfig) -> Method:
    if config.header is not None:
        return _header(config.header.header_name.lower().encode())
    if config.cookie is not None:
        return _cookie(config.cookie)
    if config.query_parameter is not None:
        return _query_parameter(config.query_parameter.name.encode())
    assert config.connection_properties is not None
    return _source_ip if config.connection_properties.source_ip else _nothing


def _nothing(_stream: DownstreamStream, _cookies: Cookies) -> None:
    """`connection_properties` without anything named."""


def _header(name: bytes) -> Method:
    pseudo = _PSEUDO.get(name)

    def method(stream: DownstreamStream, _: Cookies) -> int | None:
        if pseudo is not None:
            return xxhash64(pseudo(stream))
        values = sorted(value for key, value in stream.headers if key == name)
        if not values:
            return None
        key = 0
        for value in values:  # in an order that is not the sender's, each the seed of the next
            key = xxhash64(value, key)
        return key

    return method


def _source_ip(stream: DownstreamStream, _: Cookies) -> int | None:
    address = stream.info.downstream_remote_address
    return None if address is None else source_ip_key(address)


def source_ip_key(address: str) -> int:
    """Of `ip:port`."""
    return xxhash64(address.rpartition(":")[0].strip("[]").encode())


def _query_parameter(name: bytes) -> Method:
    def method(stream: DownstreamStream, _: Cookies) -> int | None:
        query = stream.path.partition(b"#")[0].partition(b"?")[2]
        for pair in query.split(b"&"):
            key, _equals, text = pair.partition(b"=")
            if key == name:
                return xxhash64(text)
        return None

    return method


def _cookie(config: HashedCookie) -> Method:
    name, ttl = config.name.encode(), config.ttl
    suffix = b"" if ttl is None else _attributes(config, int(ttl))

    def method(stream: DownstreamStream, cookies: Cookies) -> int | None:
        value = cookie_value(stream, name)
        if value:
            return xxhash64(value)
        if ttl is None:
            return None
        # The same for all requests of a connection, so that those sent at once agree.
        info = stream.info
        origin = f"{info.downstream_remote_address}{info.downstream_local_address}".encode()
        made = b"%016x" % xxhash64(origin)
        cookies.append(b'%s="%s"%s' % (name, made, suffix))
        return xxhash64(made)

    return method


def _attributes(config: HashedCookie, ttl: int) -> bytes:
    words = [f"Max-Age={ttl}"] if ttl else []
    if config.path:
        words.append(f"Path={config.path}")
    words += [f"{one.name}={one.value}" if one.value else one.name for one in config.attributes]
    return "".join(f"; {word}" for word in [*words, "HttpOnly"]).encode()


def cookie_value(stream: DownstreamStream, name: bytes) -> bytes:
    """The first cookie of that name, without quotes; empty when there is none."""
    for key, line in stream.headers:
        if key != b"cookie":
            continue
        for pair in line.split(b";"):
            found, equals, value = pair.lstrip(b" ").partition(b"=")
            if equals and found == name:
                quoted = len(value) >= 2 and value[:1] == value[-1:] == b'"'
                return value[1:-1] if quoted else value
    return b""
