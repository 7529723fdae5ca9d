"""What of a request a consistent hash is made of. Reference: envoy/config/route/v3 RouteAction.HashPolicy, envoy/type/v3/hash_policy.proto."""

from __future__ import annotations

from typing import Annotated

import msgspec

from proxy.config.values import Duration, HeaderText, Message, require_one

_Name = Annotated[HeaderText, msgspec.Meta(min_length=1)]


class HashedHeader(Message):
    header_name: _Name


class CookieAttribute(Message):
    name: _Name
    value: HeaderText = ""


class HashedCookie(Message):
    """With a `ttl` a missing cookie is made; 0: for the session."""

    name: _Name
    ttl: Duration | None = None
    path: HeaderText = ""
    attributes: list[CookieAttribute] = []


class HashedConnection(Message):
    source_ip: bool = False


class HashedQueryParameter(Message):
    name: _Name


class HashPolicy(Message):
    """`terminal`: when there is a hash after this one, the rest is not looked at."""

    header: HashedHeader | None = None
    cookie: HashedCookie | None = None
    connection_properties: HashedConnection | None = None
    query_parameter: HashedQueryParameter | None = None
    terminal: bool = False

    def __post_init__(self) -> None:
        require_one(self, "header", "cookie", "connection_properties", "query_parameter")


class SourceIp(Message):
    """The client's address."""


class TcpHashPolicy(Message):
    """Of an opaque connection nothing else can be hashed."""

    source_ip: SourceIp
