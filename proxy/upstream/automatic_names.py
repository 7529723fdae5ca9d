"""Server name and expected certificate name of a TLS connection, taken from the host that the request is for.

For clusters whose configuration cannot name the server. Names are compared without case, and ports are no part of them; an IP
address is never sent as SNI but may be expected. Reference: Envoy's `auto_sni` and `auto_san_validation`
(config.core.v3.UpstreamHttpProtocolOptions), source/common/router/router.cc.
"""

from __future__ import annotations

from ipaddress import ip_address

from proxy.upstream.transport import TlsOptions

_REMEMBERED = 1024  # hosts of requests are the caller's words; beyond this many, forgetting all costs little


class AutomaticNames:
    """`sni`: send the name; `validate`: the certificate must have it."""

    __slots__ = ("_known", "_sni", "_validate")

    def __init__(self, *, sni: bool, validate: bool) -> None:
        self._sni = sni
        self._validate = validate
        self._known: dict[tuple[bytes, tuple[str, ...] | None], TlsOptions] = {}

    def options(self, authority: bytes, alpn: tuple[str, ...] | None) -> TlsOptions:
        """What the connection of a request for `authority` needs. Equal for requests that may share one."""
        found = self._known.get((authority, alpn))
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[authority, alpn] = self._options(authority, alpn)
        return found

    def _options(self, authority: bytes, alpn: tuple[str, ...] | None) -> TlsOptions:
        name, is_address = _host_of(authority.decode("latin-1"))
        server_name = None
        if self._sni and not is_address:
            server_name = name
        return TlsOptions(alpn, server_name, name if self._validate else None)


def _host_of(authority: str) -> tuple[str, bool]:
    """The host without its port, lower case, and whether it is an IP address."""
    if authority.startswith("["):
        host = authority[1:].partition("]")[0]
    else:
        host, _, port = authority.rpartition(":")
        if not host or not port.isdecimal():
            host = authority
    try:
        ip_address(host)
    except ValueError:
        return host.lower(), False
    return host, True
