"""Which listener and filter chain an app's connection reaches.

As the sidecar does it: the capture listener hands a connection to the listener of its original destination, that one's
inspectors look at the first bytes, and the filter chains are matched by what they saw.
Reference: Envoy `use_original_dst`; reference §3.1-§3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from control.compile import names
from control.compile.protobuf import LISTENER
from control.explain.request import Asked
from control.explain.resources import Configuration, typed
from proxy.config import listener as config
from proxy.config.network_filters import HttpConnectionManager, TcpProxy
from proxy.net.filter_chain_match import Connection, FilterChainMatcher
from proxy.net.sniff import http_protocol

_ANY = "0.0.0.0"


class NoListener(Exception):
    """Nothing listens where the connection goes; the text says what does."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A listener's chain; `why` says how it was found, `saw` what the inspectors saw. `chain` is None: the connection is closed."""

    listener: str
    why: str
    saw: str
    chain: str | None
    http: HttpConnectionManager | None
    tcp: TcpProxy | None


def reach(configuration: Configuration, asked: Asked, address: str | None, *, gateway: bool) -> Reached:
    """`address` is what the host's name leads to, None when the mesh does not know. Raises NoListener."""
    name, why = _bound(configuration, asked) if gateway else _captured(configuration, asked.port, address)
    listener: config.Listener = typed(LISTENER, configuration.listeners[name])
    connection, saw = _inspected(listener, asked, address)
    chains = [(chain.filter_chain_match, chain.name, chain) for chain in listener.filter_chains]
    chain = FilterChainMatcher(chains, listener.default_filter_chain).find(connection)
    if chain is None:
        return Reached(name, why, saw, None, None, None)
    last = next(
        (
            one.typed_config
            for one in chain.filters
            if isinstance(one.typed_config, HttpConnectionManager | TcpProxy)
        ),
        None,
    )
    shown = chain.name or ("default" if chain is listener.default_filter_chain else _described(chain))
    http = last if isinstance(last, HttpConnectionManager) else None
    return Reached(name, why, saw, shown, http, last if isinstance(last, TcpProxy) else None)


def _captured(configuration: Configuration, port: int, address: str | None) -> tuple[str, str]:
    """An outbound connection: iptables brought it to virtualOutbound."""
    for ip in (address, _ANY):
        found = f"{ip}_{port}"
        if ip is not None and found in configuration.listeners:
            return found, f"takes connections to {'any address' if ip == _ANY else ip}, port {port}"
    if names.VIRTUAL_OUTBOUND not in configuration.listeners:
        raise NoListener(f"the proxy has no listener for port {port}")
    return names.VIRTUAL_OUTBOUND, f"no service has port {port} at {address or 'an address outside the mesh'}"


def _bound(configuration: Configuration, asked: Asked) -> tuple[str, str]:
    """A connection to a gateway: to the listener on its port, or on the one a Service in front of it turns the port into."""
    ports: dict[int, str] = {}
    of_scheme: dict[int, str] = {}
    for name, listener in configuration.listeners.items():
        number = listener["address"]["socket_address"]["port_value"]
        ports[number] = name
        tls = any("transport_socket" in chain for chain in listener.get("filter_chains") or ())
        if tls is (asked.scheme == "https"):
            of_scheme[number] = name
    if asked.port in ports:
        return ports[asked.port], f"listens on port {asked.port}"
    if len(of_scheme) == 1:
        ((number, name),) = of_scheme.items()
        return name, f"listens on port {number}, the only one for {asked.scheme}"
    known = ", ".join(map(str, sorted(ports))) or "none"
    raise NoListener(f"the gateway does not listen on port {asked.port}; its ports: {known}")


def _inspected(listener: config.Listener, asked: Asked, address: str | None) -> tuple[Connection, str]:
    kinds = {type(one.typed_config) for one in listener.listener_filters}
    server_name, transport = "", "raw_buffer"
    protocols: tuple[str, ...] = ()
    if asked.scheme == "https":
        if config.TlsInspector in kinds:
            server_name, transport, protocols = asked.host.lower(), "tls", ("h2", "http/1.1")
    elif config.HttpInspector in kinds:
        line = f"{asked.method} {asked.path} HTTP/1.1\r\n".encode()
        seen = http_protocol(line)
        protocols = (seen,) if isinstance(seen, str) else ()
    connection = Connection(
        destination_port=asked.port,
        destination=address or "",
        server_name=server_name,
        transport_protocol=transport,
        application_protocols=protocols,
    )
    saw = f"TLS for {server_name}" if transport == "tls" else ", ".join(protocols)
    return connection, saw


def _described(chain: config.FilterChain) -> str:
    match = chain.filter_chain_match
    parts = [*match.server_names, *match.application_protocols]
    return f"for {', '.join(parts)}" if parts else "the only one"
