"""The typed configuration: takes what the mesh compiles, refuses everything else by its path."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, ConfigError, decode
from tests.unit.proxy.config import istio_resources

Json = dict[str, Any]
TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)


def resources() -> list[tuple[str, Json]]:
    """Type and JSON of each resource, free to be changed."""
    return [(resource["@type"], copy.deepcopy(resource)) for resource in istio_resources.ALL]


def name_of(resource: Json) -> str:
    return str(resource.get("cluster_name") or resource["name"])


def read(type_url: str, resource: Json) -> Any:
    return decode(type_url, name_of(resource), json.dumps(resource).encode())


def first(type_url: str) -> Json:
    return next(resource for kind, resource in resources() if kind == type_url)


def changed(resource: Json, path: list[str | int], value: Any) -> Json:
    """The resource with one place set."""
    place: Any = resource
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return resource


@pytest.mark.parametrize(
    ("type_url", "resource"), resources(), ids=lambda v: v if isinstance(v, str) else name_of(v)
)
def test_what_the_mesh_compiles_is_taken(type_url: str, resource: Json) -> None:
    assert name_of(resource) in (
        getattr(read(type_url, resource), field, None) for field in ("name", "cluster_name")
    )


TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
TOO_LONG = (
    ".common_tls_context: invalid ALPN protocol string: alpn_protocols are too long, at most 255 bytes each"
)
EMPTY = ": invalid ALPN protocol string: a name in alpn_protocols is empty"


@pytest.mark.parametrize(
    ("protocols", "of_client", "of_server"),
    [
        (["x" * 255, "h2,http/1.1", "é" * 127], None, None),
        (["h2," + "x" * 255], None, None),
        ([""], None, None),
        (["h2", "x" * 256], TOO_LONG, TOO_LONG),
        (["é" * 128], TOO_LONG, TOO_LONG),
        (["x" * 250] * 270, TOO_LONG, TOO_LONG),
        (["h2", ""], EMPTY, None),
        (["h2,,x"], EMPTY, None),
    ],
)
def test_alpn_protocols(protocols: list[str], of_client: str | None, of_server: str | None) -> None:
    """Taken and refused as by real Envoy 1.40, which aborts at an empty one that a client is to offer."""
    common = {"alpn_protocols": protocols}
    upstream, downstream = (
        {"name": "tls", "typed_config": {"@type": TLS + kind, "common_tls_context": common}}
        for kind in ("UpstreamTlsContext", "DownstreamTlsContext")
    )
    cluster = {"name": "c", "type": "EDS", "connect_timeout": "1s", "transport_socket": upstream}
    where = 'clusters["c"].transport_socket.typed_config'
    assert refusal(CLUSTER, cluster) == (of_client and where + of_client)
    listener = changed(first(LISTENER), ["filter_chains", 0, "transport_socket"], downstream)
    where = f'listeners["{listener["name"]}"].filter_chains[0].transport_socket.typed_config'
    assert refusal(LISTENER, listener) == (of_server and where + of_server)


def refusal(type_url: str, resource: Json) -> str | None:
    """Why it is refused; None: it is taken."""
    try:
        read(type_url, resource)
    except ConfigError as error:
        return str(error)
    return None


def test_values_are_what_protobuf_json_means() -> None:
    cluster = read(CLUSTER, {"name": "c", "type": "EDS", "connect_timeout": "0.250s"})
    assert (cluster.connect_timeout, cluster.lb_policy) == (0.25, "ROUND_ROBIN")
    table = read(ROUTE, first(ROUTE))
    assert table.virtual_hosts[0].routes[0].route.timeout == 0.0
    assert read(LISTENER, first(LISTENER)).listener_filters_timeout == 0.0


MANAGER: list[str | int] = ["filter_chains", 0, "filters", 0, "typed_config"]
ROUTE_ACTION: list[str | int] = ["virtual_hosts", 0, "routes", 0, "route"]


@pytest.mark.parametrize(
    ("type_url", "path", "value", "text"),
    [
        (LISTENER, ["foo"], 1, ".foo: not implemented"),
        (LISTENER, [*MANAGER, "foo"], 1, ".filter_chains[0].filters[0].typed_config.foo: not implemented"),
        (
            LISTENER,
            [*MANAGER, "@type"],
            "type.googleapis.com/x.Y",
            ".filter_chains[0].filters[0].typed_config.@type: type.googleapis.com/x.Y is not implemented",
        ),
        (
            LISTENER,
            [*MANAGER, "stream_idle_timeout"],
            "5",
            ".filter_chains[0].filters[0].typed_config.stream_idle_timeout: want a duration such as '1.5s', got '5'",
        ),
        (
            LISTENER,
            [*MANAGER, "route_config"],
            {"name": "r"},
            ".filter_chains[0].filters[0].typed_config: want exactly one of rds, route_config; got rds and route_config",
        ),
        (
            LISTENER,
            ["address", "socket_address", "port_value"],
            70000,
            ".address.socket_address.port_value: expected `int` <= 65535",
        ),
        (
            ROUTE,
            [*ROUTE_ACTION, "internal_redirect_policy"],
            [],
            ".virtual_hosts[0].routes[0].route.internal_redirect_policy: not implemented",
        ),
        (
            ROUTE,
            [*ROUTE_ACTION, "hash_policy"],
            [{"filter_state": {"key": "k"}}],
            ".virtual_hosts[0].routes[0].route.hash_policy[0].filter_state: not implemented",
        ),
        (
            ROUTE,
            ["virtual_hosts", 0, "routes", 0, "match"],
            {"prefix": "/", "path": "/"},
            ".virtual_hosts[0].routes[0].match: want exactly one of prefix, path, safe_regex, path_separated_prefix;"
            " got prefix and path",
        ),
        (
            ROUTE,
            ["virtual_hosts", 0, "routes", 0, "direct_response"],
            {"status": 200},
            ".virtual_hosts[0].routes[0]: want exactly one of route, redirect, direct_response; got route and direct_response",
        ),
        (
            ROUTE,
            ["virtual_hosts", 0, "routes", 0, "typed_per_filter_config"],
            {"envoy.filters.http.buffer": {}},
            ".virtual_hosts[0].routes[0].typed_per_filter_config.envoy.filters.http.buffer: not implemented",
        ),
        (CLUSTER, ["outlier_detection"], {"detect_degraded_hosts": True}, ".outlier_detection.detect_degraded_hosts: not implemented"),
        (CLUSTER, ["lb_policy"], "SUBSET", ": lb_policy 'SUBSET' is not implemented"),
        (CLUSTER, ["type"], "LOGICAL_DNS", ": cluster type 'LOGICAL_DNS' is not implemented"),
        (CLUSTER, ["name"], 7, ".name: expected `str`, got `int`"),
        (
            ENDPOINT,
            ["endpoints", 0, "lb_endpoints", 0, "endpoint", "address"],
            {},
            ".endpoints[0].lb_endpoints[0].endpoint.address: want exactly one of socket_address, pipe; got none",
        ),
    ],
)  # fmt: skip
def test_a_refusal_names_resource_path_and_reason(
    type_url: str, path: list[str | int], value: Any, text: str
) -> None:
    resource = first(type_url)
    label = {CLUSTER: "clusters", ENDPOINT: "endpoints", LISTENER: "listeners", ROUTE: "routes"}[type_url]
    name = name_of(resource)
    with pytest.raises(ConfigError) as refused:
        decode(type_url, name, json.dumps(changed(resource, path, value)).encode())
    assert str(refused.value) == f'{label}["{name}"]{text}'


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError) as refused:
        decode(CLUSTER, "c", b"{}")
    assert str(refused.value) == 'clusters["c"]: object missing required field `name`'


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every object of a resource except free-form metadata."""
    if path[-1:] in (("metadata",), ("match",)) and "filter_chain" not in str(path):
        return []
    found: list[tuple[str | int, ...]] = [path] if isinstance(value, dict) else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        found += places(part, (*path, key))
    return found


# What the model takes with any content: a predicate known by its name alone, and Istio's own filters in part.
LENIENT = {
    "value",
    "downstream_discovery",
    "upstream_discovery",
    "downstream_propagation",
    "upstream_propagation",
}


def lenient(spot: tuple[str | int, ...]) -> bool:
    return bool(LENIENT & set(spot)) or ("retry_host_predicate" in spot and spot[-1] == "typed_config")


@given(st.data())
def test_an_unknown_field_is_refused_wherever_it_stands(data: st.DataObject) -> None:
    type_url, resource = data.draw(st.sampled_from(resources()))
    spots = [spot for spot in places(resource) if not lenient(spot)]
    spot = data.draw(st.sampled_from(spots))
    with pytest.raises(ConfigError, match=r"\.no_such_field: not implemented$"):
        read(type_url, changed(resource, [*spot, "no_such_field"], 1))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "address", "type", "filters", "x"]), x, max_size=3)
        ),
    )
)
def test_any_json_is_taken_or_refused(value: Any) -> None:
    for type_url in TYPES:
        try:
            decode(type_url, "x", json.dumps(value).encode())
        except ConfigError:
            continue
