"""Which filter chain takes a connection: Istio's shapes by table, everything else against a plain reading of the rules."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.decode import LISTENER, decode
from proxy.config.listener import FilterChainMatch
from proxy.net.filter_chain_match import Connection, DuplicateMatch, FilterChainMatcher

ISTIO = ["istio-peer-exchange", "istio", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
WEB = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
PLAIN = ["http/1.1", "h2c"]


def matches(*configs: dict[str, Any]) -> list[FilterChainMatch]:
    chains = [{"filter_chain_match": config, "filters": []} for config in configs]
    address = {"socket_address": {"address": "0.0.0.0", "port_value": 1}}
    listener = {"name": "l", "address": address, "filter_chains": chains}
    return [
        chain.filter_chain_match
        for chain in decode(LISTENER, "l", json.dumps(listener).encode()).filter_chains
    ]


def matcher(chains: dict[str, dict[str, Any]], default: str | None = None) -> FilterChainMatcher[str]:
    compiled = matches(*chains.values())
    return FilterChainMatcher([(m, name, name) for m, name in zip(compiled, chains, strict=True)], default)


def tls(port: int, *alpn: str, **more: Any) -> Connection:
    return Connection(port, transport_protocol="tls", application_protocols=alpn, **more)


def raw(port: int, *alpn: str, **more: Any) -> Connection:
    return Connection(port, application_protocols=alpn, **more)


# Reference §3.2: STRICT http on 80, PERMISSIVE auto on 90, PERMISSIVE tcp on 100, DISABLE auto on 110.
INBOUND = matcher(
    {
        "blackhole": {"destination_port": 15006},
        "strict-http": {"destination_port": 80, "transport_protocol": "tls"},
        "auto-mtls-http": {"destination_port": 90, "transport_protocol": "tls", "application_protocols": WEB},
        "auto-plain-http": {
            "destination_port": 90,
            "transport_protocol": "raw_buffer",
            "application_protocols": PLAIN,
        },
        "auto-mtls-tcp": {
            "destination_port": 90,
            "transport_protocol": "tls",
            "application_protocols": ["istio-peer-exchange", "istio"],
        },
        "auto-plain-tcp": {"destination_port": 90, "transport_protocol": "raw_buffer"},
        "auto-own-tls": {"destination_port": 90, "transport_protocol": "tls"},
        "tcp-mtls": {"destination_port": 100, "transport_protocol": "tls", "application_protocols": ISTIO},
        "tcp-own-tls": {"destination_port": 100, "transport_protocol": "tls"},
        "tcp-plain": {"destination_port": 100, "transport_protocol": "raw_buffer"},
        "off-http": {"destination_port": 110, "application_protocols": PLAIN},
        "off-tcp": {"destination_port": 110},
        "passthrough-mtls": {"transport_protocol": "tls", "application_protocols": ISTIO},
        "passthrough-tls": {"transport_protocol": "tls"},
        "passthrough-http": {"transport_protocol": "raw_buffer", "application_protocols": PLAIN},
        "passthrough-tcp": {"transport_protocol": "raw_buffer"},
    }
)


@pytest.mark.parametrize(
    ("connection", "chain"),
    [
        (raw(15006), "blackhole"), (tls(15006, "istio"), "blackhole"),
        (tls(80, *WEB), "strict-http"), (tls(80), "strict-http"), (raw(80, "http/1.1"), None), (raw(80), None),
        (tls(90, "istio-http/1.1", "istio", "http/1.1"), "auto-mtls-http"),
        (tls(90, "istio-peer-exchange", "istio"), "auto-mtls-tcp"), (tls(90, "istio", "istio-h2"), "auto-mtls-tcp"),
        (tls(90, "h2", "http/1.1"), "auto-own-tls"), (tls(90), "auto-own-tls"),
        (raw(90, "http/1.1"), "auto-plain-http"), (raw(90, "h2c"), "auto-plain-http"),
        (raw(90, "http/1.0"), "auto-plain-tcp"), (raw(90), "auto-plain-tcp"),
        (tls(100, "istio-http/1.1"), "tcp-mtls"), (tls(100, "h2"), "tcp-own-tls"), (raw(100, "http/1.1"), "tcp-plain"),
        (raw(110, "http/1.1"), "off-http"), (raw(110), "off-tcp"), (tls(110, "istio"), "off-tcp"),
        (tls(7, "istio"), "passthrough-mtls"), (tls(7), "passthrough-tls"), (raw(7, "h2c"), "passthrough-http"),
        (raw(7), "passthrough-tcp"),
    ],
)  # fmt: skip
def test_inbound(connection: Connection, chain: str | None) -> None:
    assert INBOUND.find(connection) == chain


NAMES = matcher(
    {
        "exact": {"server_names": ["a.b.c"]},
        "near": {"server_names": ["*.b.c"]},
        "far": {"server_names": ["*.c"]},
        "any": {"transport_protocol": "tls"},
    },
    default="default",
)


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("a.b.c", "exact"),
        ("x.b.c", "near"),
        ("y.x.b.c", "near"),
        ("b.c", "far"),
        ("c", "any"),
        ("z", "any"),
        ("", "any"),
    ],
)
def test_server_names(name: str, chain: str) -> None:
    assert NAMES.find(Connection(443, server_name=name, transport_protocol="tls")) == chain


def test_there_is_no_way_back_to_a_less_specific_value() -> None:
    chains = {"port": {"destination_port": 80, "transport_protocol": "tls"}, "any": {}}
    assert matcher(chains).find(raw(80)) is None
    assert matcher(chains, default="default").find(raw(80)) == "default"
    assert matcher(chains).find(raw(81)) == "any"


def network(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    return {"address_prefix": address, "prefix_len": int(length)}


def test_the_longest_prefix_of_the_destination_wins() -> None:
    found = matcher(
        {
            "wide": {"prefix_ranges": [network("10.0.0.0/8")]},
            "narrow": {"prefix_ranges": [network("10.1.2.3/32"), network("fd00::1/128")]},
            "any": {},
        }
    )
    for address, chain in (
        ("10.1.2.3", "narrow"),
        ("10.9.9.9", "wide"),
        ("11.0.0.1", "any"),
        ("fd00::1", "narrow"),
        ("fd00::2", "any"),
    ):
        assert found.find(Connection(80, destination=address)) == chain


def test_where_a_connection_comes_from() -> None:
    found = matcher(
        {
            "local": {"source_type": "SAME_IP_OR_LOOPBACK"},
            "net": {"source_type": "EXTERNAL", "source_prefix_ranges": [network("10.0.0.0/8")]},
            "port": {
                "source_type": "EXTERNAL",
                "source_prefix_ranges": [network("10.0.0.0/8")],
                "source_ports": [7],
            },
        },
        default="default",
    )
    cases = [
        ("127.0.0.1", "10.1.1.1", 1, "local"),
        ("10.1.1.1", "10.1.1.1", 1, "local"),
        ("10.2.2.2", "10.1.1.1", 1, "net"),
        ("10.2.2.2", "10.1.1.1", 7, "port"),
        ("11.2.2.2", "10.1.1.1", 7, "default"),
    ]
    for source, destination, port, chain in cases:
        connection = Connection(80, destination=destination, source=source, source_port=port)
        assert found.find(connection) == chain


def test_equal_matches_are_refused() -> None:
    with pytest.raises(DuplicateMatch, match="filter chain 'b' has the same matching rules as 'a'"):
        matcher({"a": {"application_protocols": ["x", "y"]}, "b": {"application_protocols": ["y"]}})


def naive(chains: list[FilterChainMatch], c: Connection) -> int | None:
    """Envoy's documentation: narrow by one property after the other, keeping only the most specific that fit."""
    left = list(enumerate(chains))

    def narrow(specificity: Any) -> None:
        """Keep the chains whose value fits best; `specificity` is None for one that does not fit."""
        nonlocal left
        scores = [(i, m, specificity(m)) for i, m in left]
        best = max((s for _, _, s in scores if s is not None), default=None)
        left = [(i, m) for i, m, s in scores if s is not None and s == best]

    def prefix(ranges: Any, address: str) -> int | None:
        if not ranges:
            return -1
        nets = [ip_network(f"{r.address_prefix}/{r.prefix_len}", strict=False) for r in ranges]
        fitting = [n.prefixlen for n in nets if address and ip_address(address) in n]
        return max(fitting, default=None)

    def server_name(match: FilterChainMatch) -> int | None:
        if not match.server_names:
            return -1
        fitting = [
            1000 if name == c.server_name else len(name)
            for name in match.server_names
            if name == c.server_name or (name.startswith("*") and c.server_name.endswith(name[1:]))
        ]
        return max(fitting, default=None)

    def protocol(match: FilterChainMatch) -> int | None:
        if not match.application_protocols:
            return -1000
        order = [-i for i, name in enumerate(c.application_protocols) if name in match.application_protocols]
        return max(order, default=None)

    narrow(
        lambda m: (
            -1 if m.destination_port is None else 0 if m.destination_port == c.destination_port else None
        )
    )
    narrow(lambda m: prefix(m.prefix_ranges, c.destination))
    narrow(server_name)
    narrow(
        lambda m: (
            -1 if not m.transport_protocol else 0 if m.transport_protocol == c.transport_protocol else None
        )
    )
    narrow(protocol)
    narrow(lambda m: prefix(m.source_prefix_ranges, c.source))
    narrow(lambda m: -1 if not m.source_ports else 0 if c.source_port in m.source_ports else None)
    return left[0][0] if left else None


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


NETWORKS = st.lists(
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32"]).map(network),
    min_size=1,
    max_size=2,
    unique_by=str,
)
CHAINS = maybe(
    destination_port=st.sampled_from([80, 90]),
    prefix_ranges=NETWORKS,
    server_names=st.lists(st.sampled_from(["a.b", "*.b", "*.c", "x.a.b"]), min_size=1, max_size=2, unique=True),
    transport_protocol=st.sampled_from(["tls", "raw_buffer"]),
    application_protocols=st.lists(st.sampled_from(["h2", "http/1.1", "istio"]), min_size=1, max_size=2, unique=True),
    source_prefix_ranges=NETWORKS,
    source_ports=st.lists(st.sampled_from([1, 2]), min_size=1, max_size=2, unique=True),
)  # fmt: skip
CONNECTIONS = st.builds(
    Connection,
    destination_port=st.sampled_from([80, 90, 100]),
    destination=st.sampled_from(["10.1.1.1", "10.1.9.9", "11.0.0.1"]),
    server_name=st.sampled_from(["", "a.b", "x.a.b", "z.c"]),
    transport_protocol=st.sampled_from(["tls", "raw_buffer"]),
    application_protocols=st.lists(st.sampled_from(["h2", "http/1.1", "istio"]), max_size=2, unique=True),
    source=st.sampled_from(["10.1.1.1", "10.2.2.2", "12.0.0.1"]),
    source_port=st.sampled_from([1, 2, 3]),
)


@given(st.lists(CHAINS, min_size=1, max_size=7), st.lists(CONNECTIONS, min_size=1, max_size=5))
def test_any_chains_are_chosen_as_the_documentation_reads(
    configs: list[dict[str, Any]], connections: list[Connection]
) -> None:
    compiled = matches(*configs)
    try:
        found = FilterChainMatcher([(m, str(i), i) for i, m in enumerate(compiled)])
    except DuplicateMatch:
        return
    for connection in connections:
        assert found.find(connection) == naive(compiled, connection)
