"""The kinds the API serves: one file each, and here the explicit list."""

from __future__ import annotations

from control.resources import (
    config_map,
    deployment,
    destination_rule,
    endpoints,
    event,
    gateway,
    local_rate_limit,
    namespace,
    node,
    peer_authentication,
    pod,
    service,
    service_account,
    virtual_service,
)
from control.resources.kind import Kind

KINDS: tuple[Kind, ...] = (
    namespace.KIND,
    node.KIND,
    service.KIND,
    service_account.KIND,
    pod.KIND,
    config_map.KIND,
    config_map.SECRET,
    event.KIND,
    endpoints.KIND,
    endpoints.SLICE,
    deployment.KIND,
    deployment.REPLICA_SET,
    virtual_service.KIND,
    destination_rule.KIND,
    gateway.KIND,
    peer_authentication.KIND,
    local_rate_limit.KIND,
)
