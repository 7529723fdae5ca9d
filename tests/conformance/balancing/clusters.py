"""Clusters for these tests, in the fewest words: groups of endpoints, each group one locality of one priority."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
Group = dict[str, Any]
"""`hosts` (indexes into the ports), and maybe `weights`, `health`, `keys`, `zone`, `weight`, `priority`."""


def cluster(name: str, policy: str, ports: list[int], groups: list[Group], **fields: Any) -> Json:
    assignment: Json = {"cluster_name": name, "endpoints": [_group(ports, group) for group in groups]}
    if "overprovisioning" in fields:
        assignment["policy"] = {"overprovisioning_factor": fields.pop("overprovisioning")}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": policy,
        "load_assignment": assignment,
        **fields,
    }


def _group(ports: list[int], group: Group) -> Json:
    message: Json = {"lb_endpoints": [_endpoint(ports, group, at) for at in range(len(group["hosts"]))]}
    if "zone" in group:
        message["locality"] = {"region": "r", "zone": group["zone"]}
    if "weight" in group:
        message["load_balancing_weight"] = group["weight"]
    if "priority" in group:
        message["priority"] = group["priority"]
    return message


def _endpoint(ports: list[int], group: Group, at: int) -> Json:
    address = {"address": "127.0.0.1", "port_value": ports[group["hosts"][at]]}
    message: Json = {"endpoint": {"address": {"socket_address": address}}}
    if "weights" in group:
        message["load_balancing_weight"] = group["weights"][at]
    if "health" in group:
        message["health_status"] = group["health"][at]
    if "keys" in group:
        message["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": group["keys"][at]}}}
    return message


PANIC_OFF = {"healthy_panic_threshold": {"value": 0}}
BY_LOCALITY = {"locality_weighted_lb_config": {}}


def common(*parts: Json) -> Json:
    return {"common_lb_config": {key: value for part in parts for key, value in part.items()}}
