"""Which requests go further, and with which headers: the checks and mutations every request's head passes first.

Decides from the head, the settings and what the connection says of its client; it finds no route and knows no decoder.
Invariant: a head that was admitted has its authority, path and scheme settled, and says nothing of a client that this
hop does not vouch for or pass on knowingly.
Reference: Envoy source/common/http/conn_manager_utility.cc (`mutateRequestHeaders`, `maybeNormalizePath`), and
`ActiveStream::decodeHeaders`; reference §8.1, §8.3.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.http import request_headers
from proxy.http.codec import CodecError, Request, h1_encode, h1_rules
from proxy.http.local_reply import LocalReply
from proxy.http.path_normalization import PathRedirect, PathRefused, normalize
from proxy.http.request_headers import ClientFacts
from proxy.http.request_id import request_ids
from proxy.http.settings import HcmSettings
from proxy.http.stream import Stream
from proxy.observability import response_flags as flags

_NOTHING: frozenset[bytes] = frozenset()
_EXPECT = frozenset({b"expect"})


class Admission:
    """The admission of one connection's requests. `write` sends an interim response."""

    __slots__ = ("_client", "_settings", "_valid_authority", "_weighs", "_write")

    def __init__(self, settings: HcmSettings, client: ClientFacts, write: Callable[[bytes], None]) -> None:
        self._settings = settings
        self._client = client
        self._write = write
        self._valid_authority = b""
        self._weighs = bool(
            settings.use_remote_address or settings.internal_networks or settings.append_forwarded_port
        )

    def admit(self, stream: Stream, request: Request) -> LocalReply | None:
        """Check and mutate the head; a reply if the request goes no further. Raises CodecError."""
        settings, fields, info = self._settings, request.fields, stream.info
        if request.version != "HTTP/1.1":
            info.protocol = "HTTP/1.1"  # as Envoy logs what it refuses for its version
            raise CodecError(426, "low_version")
        authority = fields.get(b"host")
        if authority is None:
            if not request.target.startswith((b"http://", b"https://")):
                return LocalReply(400, details="missing_host_header", closes=True)
            authority = b""
        if authority != self._valid_authority:  # a client mostly asks for one host
            h1_rules.check_authority(authority)
            self._valid_authority = authority
        stream.authority = info.authority = authority
        if request.target[:1] != b"/":
            refused = self._admit_special_target(stream, request)
            if refused is not None:
                return refused
        if settings.suspect_path.search(stream.path):
            refused = self._normalize_path(stream)
            if refused is not None:
                return refused
        info.path = stream.path
        if not settings.use_remote_address:
            info.original_path = fields.get(b"x-envoy-original-path")
        if request.upgrade and fields[b"upgrade"].lower() in settings.upgrades:
            stream.upgrade = fields[b"upgrade"].lower()
        self._mutate(stream, request)
        info.request_headers = stream.headers
        return None

    def _normalize_path(self, stream: Stream) -> LocalReply | None:
        settings = self._settings
        try:
            stream.path = normalize(
                stream.path,
                normalize_path=settings.normalize_path,
                merge_slashes=settings.merge_slashes,
                escaped=settings.escaped_slashes,
            )
        except PathRefused:
            return LocalReply(400, details="path_normalization_failed", closes=True)
        except PathRedirect as redirect:
            location = ((b"location", redirect.path),)
            return LocalReply(307, details="path_normalization_failed", headers=location)
        return None

    def _admit_special_target(self, stream: Stream, request: Request) -> LocalReply | None:
        """`*`, authority form and absolute form."""
        target = request.target
        if request.method == b"CONNECT":
            stream.info.path = b""
            return LocalReply(404, flags=flags.NR, details="route_not_found", closes=True)
        if target == b"*":
            return LocalReply(404, details="absolute_path_rejected")
        rest = target.partition(b"://")[2]
        authority, slash, path = rest.partition(b"/")
        stream.path = slash + path if slash else b"/"
        h1_rules.check_authority(authority)
        stream.authority = stream.info.authority = authority
        stream.headers[:] = [(b"host", authority), *[pair for pair in stream.headers if pair[0] != b"host"]]
        return None

    def _mutate(self, stream: Stream, request: Request) -> None:
        settings, fields, client = self._settings, request.fields, self._client
        headers, scheme = stream.headers, fields.get(b"x-forwarded-proto")
        if self._weighs or not request_headers.LOOKED_AT.isdisjoint(fields):
            headers = self._mutate_closely(stream, fields)
            if scheme is not None and settings.use_remote_address and not settings.xff_trusted_hops:
                headers = [pair for pair in headers if pair[0] != b"x-forwarded-proto"]
                scheme = None
        if scheme is None:
            scheme = b"https" if client.tls else b"http"
            headers.append((b"x-forwarded-proto", scheme))
        stream.scheme = scheme
        if client.xfcc is not None or b"x-forwarded-client-cert" in fields:
            headers = request_headers.forward_client_cert(headers, fields, settings.client_cert.mode, client)
        if settings.generate_request_id and not fields.get(b"x-request-id"):
            if b"x-request-id" in fields:  # an empty one counts as none
                headers = [pair for pair in headers if pair[0] != b"x-request-id"]
            headers.append((b"x-request-id", request_ids.generate()))
        stream.headers = headers

    def _mutate_closely(self, stream: Stream, fields: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        """What is to be done at an edge, where callers differ in what they may say, or for headers few requests have."""
        settings, client = self._settings, self._client
        extra = _NOTHING
        expects = fields.get(b"expect")
        if expects is not None and expects.lower() == b"100-continue" and not settings.proxy_100_continue:
            extra = _EXPECT
            self._write(h1_encode.CONTINUE)
        edge, address = settings.use_remote_address, client.address
        if b"x-forwarded-for" in fields and (settings.xff_trusted_hops or not edge):
            hops = settings.xff_trusted_hops - edge  # an edge proxy counts itself
            found = request_headers.forwarded_address(fields[b"x-forwarded-for"], hops)
            if found is not None:
                address = found.encode()
                stream.info.downstream_direct_address = stream.info.downstream_remote_address
                stream.info.downstream_remote_address = f"[{found}]:0" if ":" in found else f"{found}:0"
        if settings.internal_networks:
            stream.internal = self._is_internal(fields, address)
        headers = request_headers.strip(
            stream.headers,
            fields,
            keep_upgrade=stream.upgrade is not None,
            edge=edge and not stream.internal,
            internal=stream.internal,
            extra=extra,
        )
        if edge:
            headers = self._mutate_at_edge(headers, fields, address, internal=stream.internal)
        if stream.internal:
            headers.append((b"x-envoy-internal", b"true"))
        return self._tell_port(headers, fields) if settings.append_forwarded_port else headers

    def _tell_port(
        self, headers: list[tuple[bytes, bytes]], fields: dict[bytes, bytes]
    ) -> list[tuple[bytes, bytes]]:
        """The port that was asked for; what another said of it stays where others are believed."""
        settings, name = self._settings, b"x-forwarded-port"
        if name in fields:
            if not settings.use_remote_address or settings.xff_trusted_hops:
                return headers
            headers = [pair for pair in headers if pair[0] != name]
        headers.append((name, self._client.asked_port))
        return headers

    def _is_internal(self, fields: dict[bytes, bytes], address: bytes) -> bool:
        """Whether the caller may steer the router by header: one address is known of it, and that is trusted.

        With use_remote_address that is the peer's own, if it names no other; else the single one `x-forwarded-for` names.
        """
        settings, forwarded = self._settings, fields.get(b"x-forwarded-for")
        if settings.use_remote_address:
            known = forwarded is None
        else:
            known = forwarded is not None and not settings.xff_trusted_hops and forwarded.strip() == address
        return known and request_headers.is_within(address, settings.internal_networks)

    def _mutate_at_edge(
        self,
        headers: list[tuple[bytes, bytes]],
        fields: dict[bytes, bytes],
        external: bytes,
        *,
        internal: bool,
    ) -> list[tuple[bytes, bytes]]:
        """A gateway trusts nothing a stranger says of itself (use_remote_address); `external` is the client's address."""
        settings = self._settings
        if not settings.skip_xff_append:
            loopback = self._client.address in (b"127.0.0.1", b"::1")  # of no use to the next hop
            own = settings.local_address if loopback else self._client.address
            headers = request_headers.append_forwarded_for(headers, fields, own)
        if internal:
            return headers
        headers = [pair for pair in headers if pair[0] != b"x-envoy-external-address"]
        headers.append((b"x-envoy-external-address", external))
        if b"x-request-id" in fields and not settings.preserve_external_request_id:
            headers = [pair for pair in headers if pair[0] != b"x-request-id"]
            headers.append((b"x-request-id", request_ids.generate()))
        return headers
