"""Which route a request takes: first the virtual host by its authority, then the first of its routes that matches.

Compiled when a route table arrives: virtual hosts are found in constant time, of many routes only those that could match are
tried (`route_index`), regular expressions are RE2. Asked for, it says why each earlier route did not match, from the same conditions, so that the explanation cannot disagree with what
traffic does. It knows nothing of clusters or what a route leads to: `T` is whatever the caller made of each route.
Reference: envoy.config.route.v3; source/common/router/config_impl.cc; reference §3.6, §5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from proxy.config.route import Route, RouteConfiguration, VirtualHost
from proxy.router.conditions import Condition, Request, conditions
from proxy.router.route_index import RouteIndex

T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]
_WORTH_AN_INDEX = 3  # routes; below, trying one after the other costs as little


class RouteTableError(ValueError):
    """A route table Envoy would refuse; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a request found its route: the virtual host, the route's number, and why each before it was passed over."""

    virtual_host: str | None
    route: int | None
    refusals: tuple[str, ...]


class _VirtualHost(Generic[T]):
    __slots__ = ("catch_all", "index", "name", "routes", "tls_only")

    def __init__(self, config: VirtualHost, build: Callable[[VirtualHost, Route], T]) -> None:
        self.name = config.name
        # Nobody is internal, as Istio configures it: EXTERNAL_ONLY is everybody.
        self.tls_only = config.require_tls != "NONE"
        self.routes: list[tuple[tuple[Condition, ...], T]] = []
        for i, route in enumerate(config.routes):
            try:
                self.routes.append((conditions(route.match), build(config, route)))
            except ValueError as error:
                raise RouteTableError(f'virtual_hosts["{config.name}"].routes[{i}]{error}') from None
        many = len(self.routes) > _WORTH_AN_INDEX
        self.index = RouteIndex([route.match for route in config.routes]) if many else None
        # A first route without conditions takes everything: the plain case costs no loop.
        catches_all = self.routes and not self.routes[0][0] and not self.tls_only
        self.catch_all = self.routes[0][1] if catches_all else None


class RouteTable(Generic[T]):
    """A compiled RouteConfiguration. `build` makes what `route` answers; it may raise ValueError(".path: why").

    `to_https` answers plaintext requests for virtual hosts with require_tls.
    """

    def __init__(
        self,
        config: RouteConfiguration,
        build: Callable[[VirtualHost, Route], T],
        to_https: T | None = None,
        previous: RouteTable[T] | None = None,
    ) -> None:
        """`previous` was made by the same `build` from all the same but the virtual hosts: those it has stay as they are."""
        self.name = config.name
        self._to_https = to_https
        self._ignore_port = config.ignore_port_in_host_matching
        self._exact: dict[bytes, _VirtualHost[T]] = {}
        self._suffixes: dict[bytes, _VirtualHost[T]] = {}  # `*.foo` as `.foo`
        self._prefixes: dict[bytes, _VirtualHost[T]] = {}  # `foo.*` as `foo.`
        self._any: _VirtualHost[T] | None = None
        # By identity: the typed virtual hosts live as long as their table.
        self._compiled: dict[int, tuple[VirtualHost, _VirtualHost[T]]] = {}
        known = self._begin_as(previous, config.virtual_hosts) if previous is not None else {}
        for virtual_host in config.virtual_hosts:
            kept = known.get(id(virtual_host))
            if kept is not None:
                self._compiled[id(virtual_host)] = kept
                continue
            compiled = _VirtualHost(virtual_host, build)
            self._compiled[id(virtual_host)] = (virtual_host, compiled)
            for domain in virtual_host.domains:
                self._add(domain, compiled)
        # Longest first; few distinct lengths exist however many domains there are.
        self._suffix_lengths = sorted({len(suffix) for suffix in self._suffixes}, reverse=True)
        self._prefix_lengths = sorted({len(prefix) for prefix in self._prefixes}, reverse=True)

    def _begin_as(
        self, previous: RouteTable[T], wanted: Iterable[VirtualHost]
    ) -> dict[int, tuple[VirtualHost, _VirtualHost[T]]]:
        """Start from the domains of an earlier table, without those of virtual hosts that are gone; returns the compiled ones it has."""
        self._exact, self._any = dict(previous._exact), previous._any
        self._suffixes, self._prefixes = dict(previous._suffixes), dict(previous._prefixes)
        still = {id(virtual_host) for virtual_host in wanted}
        for number, (virtual_host, compiled) in previous._compiled.items():
            if number not in still:
                for domain in virtual_host.domains:
                    self._remove(domain, compiled)
        return previous._compiled

    def _remove(self, domain: str, virtual_host: _VirtualHost[T]) -> None:
        key = domain.lower().encode()
        if key == b"*":
            self._any = None if self._any is virtual_host else self._any
            return
        for found, name in ((self._exact, key), (self._suffixes, key[1:]), (self._prefixes, key[:-1])):
            if found.get(name) is virtual_host:
                del found[name]

    def _add(self, domain: str, virtual_host: _VirtualHost[T]) -> None:
        key = domain.lower().encode()
        if self._ignore_port and without_port(key) != key:
            return  # as in Envoy: no host has a port when it is looked up
        if key == b"*":
            taken, self._any = self._any is not None, self._any or virtual_host
        elif key.startswith(b"*"):
            taken = self._suffixes.setdefault(key[1:], virtual_host) is not virtual_host
        elif key.endswith(b"*"):
            taken = self._prefixes.setdefault(key[:-1], virtual_host) is not virtual_host
        else:
            taken = self._exact.setdefault(key, virtual_host) is not virtual_host
        if taken:
            raise RouteTableError(
                f"Only unique values for domains are permitted. Duplicate entry of domain {domain.lower()} in route {self.name}"
            )

    def route(
        self, headers: Headers, *, authority: bytes, path: bytes, method: bytes, scheme: bytes, draw: float
    ) -> T | None:
        """The first match; None if there is no virtual host or none of its routes matches.

        `path` includes the query; `draw` is uniform in [0, 1), for runtime fractions.
        """
        virtual_host = self._exact.get(authority) or self._find(authority)
        if virtual_host is None:
            return None
        if virtual_host.catch_all is not None and path[:1] == b"/":
            return virtual_host.catch_all
        if virtual_host.tls_only and scheme != b"https":
            return self._to_https
        request = Request(headers, authority, path, method, scheme, draw)
        routes, index = virtual_host.routes, virtual_host.index
        for number in range(len(routes)) if index is None else index.candidates(request):
            needed, route = routes[number]
            for condition in needed:
                if not condition.matches(request):
                    break
            else:
                return route
        return None

    def explain(
        self, headers: Headers, *, authority: bytes, path: bytes, method: bytes, scheme: bytes, draw: float
    ) -> Explanation:
        """Why `route` answers what it answers for the same request."""
        virtual_host = self._exact.get(authority) or self._find(authority)
        if virtual_host is None:
            return Explanation(None, None, ())
        if virtual_host.tls_only and scheme != b"https":
            return Explanation(virtual_host.name, None, ("require_tls: redirected to https",))
        request = Request(headers, authority, path, method, scheme, draw)
        refusals: list[str] = []
        for number, (needed, _) in enumerate(virtual_host.routes):
            failed = next((condition for condition in needed if not condition.matches(request)), None)
            if failed is None:
                return Explanation(virtual_host.name, number, tuple(refusals))
            refusals.append(str(failed))
        return Explanation(virtual_host.name, None, tuple(refusals))

    def _find(self, authority: bytes) -> _VirtualHost[T] | None:
        """Exact name, then the longest `*.suffix`, then the longest `prefix.*`, then `*`."""
        host = authority.lower()
        if self._ignore_port:
            host = without_port(host)
        found = self._exact.get(host)
        if found is not None:
            return found
        for length in self._suffix_lengths:
            # A wildcard stands for at least one character.
            if length < len(host) and (found := self._suffixes.get(host[-length:])):
                return found
        for length in self._prefix_lengths:
            if length < len(host) and (found := self._prefixes.get(host[:length])):
                return found
        return self._any

    def __repr__(self) -> str:
        return f"<RouteTable {self.name!r} {len(self._exact)} exact domains>"


def without_port(host: bytes) -> bytes:
    """`host:80` as `host`, `[::1]:80` as `[::1]`. Whatever follows the last colon counts as a port, as in Envoy."""
    name, colon, port = host.rpartition(b":")
    return name if colon and b"]" not in port else host
