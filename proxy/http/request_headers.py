"""What the connection manager does to a request's headers before filters and router see them, and to a response's.

Pure functions over header lists. The usual request needs no removal at all, which one set operation finds out.
Reference: Envoy source/common/http/conn_manager_utility.cc; reference §8.1, §8.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from proxy.http.settings import ForwardClientCert
from proxy.router.overrides import RETRY_HEADERS, TIMEOUT_HEADERS
from proxy.tls.peer import PeerIdentity

Headers = list[tuple[bytes, bytes]]
Fields = dict[bytes, bytes]

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
# Only an internal client may steer the router by header, and Istio's default is that nobody is internal.
_OVERRIDES = (
    TIMEOUT_HEADERS
    | RETRY_HEADERS
    | {
        b"x-envoy-internal",
        b"x-envoy-expected-rq-timeout-ms",
        b"x-envoy-force-trace",
        b"x-envoy-ip-tags",
        b"x-envoy-original-url",
    }
)
_EDGE: Final = frozenset(
    {
        b"x-envoy-decorator-operation",
        b"x-envoy-downstream-service-cluster",
        b"x-envoy-downstream-service-node",
        b"x-envoy-original-host",
        b"x-envoy-original-path",
    }
)
_REMOVED: Final = _HOP_BY_HOP | _OVERRIDES
_REMOVED_INTERNAL: Final = _HOP_BY_HOP | {b"x-envoy-internal"}  # is for us to say
LOOKED_AT: Final = _REMOVED | {b"te", b"expect", b"x-forwarded-for"}
"""Without any of these a request needs no closer look, unless it comes to an edge."""
RESPONSE_REMOVED: Final = _HOP_BY_HOP


@dataclass(frozen=True, slots=True)
class ClientFacts:
    """What the connection says of the client. `xfcc` is this hop's element, None without a client certificate.

    `asked_port` is the one it connected to.
    """

    address: bytes
    tls: bool
    xfcc: bytes | None
    asked_port: bytes = b""


def strip(
    headers: Headers,
    fields: Fields,
    *,
    keep_upgrade: bool,
    edge: bool,
    extra: frozenset[bytes],
    internal: bool = False,
) -> Headers:
    """The headers without hop-by-hop ones, `extra`, and override headers unless the client is `internal`.

    The same list if nothing goes.
    """
    removed = _REMOVED_INTERNAL if internal else _REMOVED
    if extra:
        removed = removed | extra
    if edge:
        removed = removed | _EDGE
    if removed.isdisjoint(fields) and b"te" not in fields:
        return headers
    if b"connection" in fields:
        options = b",".join(value for name, value in headers if name == b"connection").lower()
        removed = removed | {option.strip() for option in options.split(b",")} - {b"te", b"host"}
    if keep_upgrade:
        removed = removed - {b"connection", b"upgrade"}
    if len(headers) == len(fields):  # no name repeats
        kept = headers.copy()
        for name in removed.intersection(fields):
            kept.remove((name, fields[name]))
    else:
        kept = [pair for pair in headers if pair[0] not in removed]
    return _only_te_trailers(kept) if b"te" in fields else kept


def _only_te_trailers(headers: Headers) -> Headers:
    """RFC 9110 §10.1.4: of `te` only `trailers` may be passed on."""
    result: Headers = []
    for name, value in headers:
        if name != b"te":
            result.append((name, value))
        elif b"trailers" in {option.strip().lower() for option in value.split(b",")}:
            result.append((name, b"trailers"))
    return result


def xfcc_element(local_uri_san: str | None, peer: PeerIdentity, details: ForwardClientCert) -> bytes:
    """This hop's element of x-forwarded-client-cert: `By=…;Hash=…;Subject="…";URI=…;DNS=…`."""
    parts = []
    if local_uri_san:
        parts.append(f"By={local_uri_san}")
    parts.append(f"Hash={peer.hash}")
    if details.subject:
        parts.append(f'Subject="{peer.subject}"')
    if details.uri:
        parts.append(f"URI={','.join(peer.uri_sans)}")
    if details.dns:
        parts += [f"DNS={name}" for name in peer.dns_sans]
    return ";".join(parts).encode()


def forward_client_cert(headers: Headers, fields: Fields, mode: str, client: ClientFacts) -> Headers:
    """Apply ForwardClientCertDetails `mode`."""
    name = b"x-forwarded-client-cert"
    if mode == "ALWAYS_FORWARD_ONLY":
        return headers
    if not client.tls or client.xfcc is None or mode == "SANITIZE":
        return [pair for pair in headers if pair[0] != name] if name in fields else headers
    if mode == "FORWARD_ONLY":
        return headers
    if name not in fields:
        headers.append((name, client.xfcc))
        return headers
    before = [value for field, value in headers if field == name] if mode == "APPEND_FORWARD" else []
    kept = [pair for pair in headers if pair[0] != name]
    kept.append((name, b",".join([*before, client.xfcc])))
    return kept


def forwarded_address(forwarded_for: bytes, hops: int) -> str | None:
    """The IP that `x-forwarded-for` names, `hops` trusted proxies from its end; None if that is no IP."""
    elements = forwarded_for.split(b",")
    if hops >= len(elements):
        return None
    try:
        address = ip_address(elements[-1 - hops].strip().decode("latin-1"))
    except ValueError:
        return None
    return str(address)


def is_within(address: bytes, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether an IP lies in one of the networks."""
    try:
        ip = ip_address(address.decode("latin-1"))
    except ValueError:
        return False
    return any(ip in network for network in networks)


def append_forwarded_for(headers: Headers, fields: Fields, address: bytes) -> Headers:
    """`x-forwarded-for` with the client's address at its end."""
    name = b"x-forwarded-for"
    if name not in fields:
        headers.append((name, address))
        return headers
    before = [value for field, value in headers if field == name]
    kept = [pair for pair in headers if pair[0] != name]
    kept.append((name, b",".join([*before, address])))
    return kept
