"""Which filter chain of a listener takes a connection.

Envoy narrows by one property after the other, in a fixed order, and at each step the most specific value present wins for
good: there is no way back to a less specific one. Compiled once into nested dictionaries; a look-up costs one step per
property. Knows nothing of sockets.
Reference: envoy.config.listener.v3.FilterChainMatch; source/common/listener_manager/filter_chain_manager_impl.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Generic, TypeVar

from proxy.config.listener import FilterChainMatch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of a new connection. Addresses are the original destination and the peer, as text."""

    destination_port: int
    destination: str = ""
    server_name: str = ""  # lower-cased
    transport_protocol: str = "raw_buffer"  # or "tls"
    application_protocols: Sequence[str] = ()
    source: str = ""
    source_port: int = 0


class DuplicateMatch(ValueError):
    """Two chains of one listener have the same match: `filter chain 'x' has the same matching rules as 'y'`."""


# A step keeps one level: values it indexes, and which of them a connection tries, most specific first.
_Keys = Callable[[FilterChainMatch], Sequence[Any]]


def _networks(ranges: Iterable[Any]) -> list[Any]:
    found = [ip_network(f"{r.address_prefix}/{r.prefix_len}", strict=False) for r in ranges]
    return found or [None]


def _name(pattern: str) -> str:
    return pattern.lower().removeprefix("*")


_LEVELS: tuple[_Keys, ...] = (
    lambda m: [m.destination_port],
    lambda m: _networks(m.prefix_ranges),
    lambda m: [_name(name) for name in m.server_names] or [None],
    lambda m: [m.transport_protocol or None],
    lambda m: m.application_protocols or [None],
    lambda m: [m.source_type if m.source_type != "ANY" else None],
    lambda m: _networks(m.source_prefix_ranges),
    lambda m: m.source_ports or [None],
)


def _covering(table: dict[Any, Any], address: str) -> list[Any]:
    """The networks of `table` that hold `address`, the longest prefix first; then None, for any."""
    networks = [key for key in table if isinstance(key, IPv4Network | IPv6Network)]
    if not networks or not address:
        return [None]
    wanted = ip_address(address)
    holding = [n for n in networks if n.version == wanted.version and wanted in n]
    return [*sorted(holding, key=lambda n: -n.prefixlen), None]


def _suffixes(name: str) -> list[Any]:
    """`a.b.c` is tried as itself, then as `.b.c`, `.c`, then as any name."""
    if not name:
        return [None]
    found: list[Any] = [name]
    dot = name.find(".")
    while dot >= 0:
        found.append(name[dot:])
        dot = name.find(".", dot + 1)
    return [*found, None]


def _source_types(connection: Connection) -> list[Any]:
    local = connection.source in ("127.0.0.1", "::1") or (
        bool(connection.source) and connection.source == connection.destination
    )
    return ["SAME_IP_OR_LOOPBACK" if local else "EXTERNAL", None]


class FilterChainMatcher(Generic[T]):
    """Finds the value given for the chain that takes a connection."""

    def __init__(self, chains: Iterable[tuple[FilterChainMatch, str, T]], default: T | None = None) -> None:
        """`chains`: match, name and value of each. Raises `DuplicateMatch`."""
        self._root: dict[Any, Any] = {}
        self._default = default
        for match, name, value in chains:
            self._add(self._root, match, 0, name, value)

    def _add(self, table: dict[Any, Any], match: FilterChainMatch, level: int, name: str, value: T) -> None:
        last = level == len(_LEVELS) - 1
        for key in _LEVELS[level](match):
            if not last:
                self._add(table.setdefault(key, {}), match, level + 1, name, value)
            elif key in table:
                raise DuplicateMatch(
                    f"filter chain '{name}' has the same matching rules as '{table[key][0]}'"
                )
            else:
                table[key] = (name, value)

    def find(self, connection: Connection) -> T | None:
        """The chain for a connection; the default chain's value, or None, if none matches."""
        found = self._walk(connection)
        return self._default if found is None else found[1]

    def _walk(self, c: Connection) -> tuple[str, T] | None:
        table: Any = self._root
        for level in range(len(_LEVELS)):
            for key in _candidates(level, table, c):
                if key in table:
                    table = table[key]
                    break
            else:
                return None
        found: tuple[str, T] = table
        return found


def _candidates(level: int, table: dict[Any, Any], c: Connection) -> Sequence[Any]:
    """The keys of one level that `c` fits, in the order Envoy prefers them."""
    if level == 0:
        return (c.destination_port, None)
    if level == 1:
        return _covering(table, c.destination)
    if level == 2:
        return _suffixes(c.server_name)
    if level == 3:
        return (c.transport_protocol, None)
    if level == 4:
        return (*c.application_protocols, None)
    if level == 5:
        return _source_types(c)
    if level == 6:
        return _covering(table, c.source)
    return (c.source_port, None)
