"""A route configuration's JSON taken apart into its virtual hosts, so that of a large table only what changed is read.

Works on compact JSON that has `virtual_hosts` before anything else of that name, as our control plane writes it; what cannot be
taken apart is read whole. Invariant: `join(split(raw)) == raw`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from proxy.config.decode import decode_virtual_host
from proxy.config.route import RouteConfiguration, VirtualHost

_START = b'"virtual_hosts":['


class Pieces(NamedTuple):
    """`before` and `after` are all but the virtual hosts."""

    before: bytes
    virtual_hosts: list[bytes]
    after: bytes


class _VirtualHosts(msgspec.Struct):
    virtual_hosts: list[msgspec.Raw] = []


_virtual_hosts = msgspec.json.Decoder(_VirtualHosts)


def split(raw: bytes | msgspec.Raw) -> Pieces | None:
    """None for JSON of another form."""
    whole = bytes(raw)
    begin = whole.find(_START) + len(_START)
    try:
        found = [bytes(each) for each in _virtual_hosts.decode(whole).virtual_hosts]
    except msgspec.DecodeError:
        return None
    end = begin + sum(map(len, found)) + max(len(found) - 1, 0)
    pieces = Pieces(whole[:begin], found, whole[end:])
    return pieces if begin >= len(_START) and join(pieces) == whole else None


def join(pieces: Pieces) -> bytes:
    return pieces.before + b",".join(pieces.virtual_hosts) + pieces.after


def decode_again(
    name: str, raw: bytes | msgspec.Raw, old_raw: bytes | msgspec.Raw, old: RouteConfiguration
) -> RouteConfiguration | None:
    """The typed table; virtual hosts that `old`, read from `old_raw`, has as well are the same objects. None: read it whole.

    Raises `ConfigError` for what is wrong with a virtual host.
    """
    now, earlier = split(raw), split(old_raw)
    if now is None or earlier is None or (now.before, now.after) != (earlier.before, earlier.after):
        return None
    known: dict[bytes, VirtualHost | None] = dict(zip(earlier.virtual_hosts, old.virtual_hosts, strict=True))
    hosts = []
    for index, each in enumerate(now.virtual_hosts):
        # Each is taken once: of two that are the same the second is another, whose domains stand twice.
        hosts.append(known.pop(each, None) or decode_virtual_host(name, index, each))
    return msgspec.structs.replace(old, virtual_hosts=hosts)


def alike_but_for_hosts(one: RouteConfiguration, other: RouteConfiguration) -> bool:
    """Whether two tables are alike in all else."""
    return msgspec.structs.replace(one, virtual_hosts=[]) == msgspec.structs.replace(other, virtual_hosts=[])
