"""Values no field may have: refused when they arrive, rather than failing or being ignored later."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, ConfigError, decode

Json = dict[str, Any]
ADDRESS: Json = {"socket_address": {"address": "10.0.0.1", "port_value": 1}}


def listener(**match: Any) -> Json:
    return {"name": "x", "address": ADDRESS, "filter_chains": [{"filter_chain_match": match}]}


def table(**route: Any) -> Json:
    return {
        "name": "x",
        "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}],
    }


def endpoint(**fields: Any) -> Json:
    return {
        "cluster_name": "x",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": ADDRESS}, **fields}]}],
    }


def forward(**action: Any) -> Json:
    return table(route={"cluster": "c", **action})


BAD: list[tuple[str, Json]] = [
    *((CLUSTER, {"name": "x", "type": "EDS", "connect_timeout": d}) for d in ("nans", "infs", "-5s", "1_0s", " 1s", "1e3s", 5)),
    (CLUSTER, {"name": "x", "type": "EDS", "common_lb_config": {"healthy_panic_threshold": {"value": 101}}}),
    (CLUSTER, {"name": "x", "type": "EDS", "lb_policy": "CLUSTER_PROVIDED"}),
    (CLUSTER, {"name": "x", "type": "ORIGINAL_DST"}),
    (ENDPOINT, endpoint(load_balancing_weight=0)),
    (ENDPOINT, endpoint(health_status="X")),
    (LISTENER, {"name": "x", "address": ADDRESS}),
    (LISTENER, {**listener(), "traffic_direction": "X"}),
    (LISTENER, listener(source_type="X")),
    (LISTENER, listener(prefix_ranges=[{"address_prefix": "bogus", "prefix_len": 8}])),
    (LISTENER, listener(prefix_ranges=[{"address_prefix": "10.0.0.0", "prefix_len": 33}])),
    (ROUTE, {"name": "x", "virtual_hosts": [{"name": "v", "domains": []}]}),
    (ROUTE, forward(cluster_not_found_response_code="X")),
    (ROUTE, forward(retry_policy={"retry_back_off": {"base_interval": "2s", "max_interval": "1s"}})),
    (ROUTE, forward(retry_policy={"host_selection_retry_max_attempts": "many"})),
    (ROUTE, forward(prefix_rewrite="/a", regex_rewrite={"pattern": {"regex": "a"}})),
    (ROUTE, table(redirect={"response_code": "X"})),
    (SECRET, {"name": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("type_url", "resource"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_refused(type_url: str, resource: Json) -> None:
    with pytest.raises(ConfigError, match=r'^[a-z]+\["x"\]'):
        decode(type_url, "x", json.dumps(resource).encode())


@pytest.mark.parametrize("attempts", [5, "5"])
def test_a_64_bit_number_may_be_text(attempts: object) -> None:
    raw = json.dumps(forward(retry_policy={"host_selection_retry_max_attempts": attempts})).encode()
    policy = decode(ROUTE, "x", raw).virtual_hosts[0].routes[0].route.retry_policy
    assert policy.host_selection_retry_max_attempts == 5
