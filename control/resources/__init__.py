"""The kinds the API serves: one file each, and here the explicit list."""

from __future__ import annotations

from control.resources import (
    config_map,
    deployment,
    endpoints,
    event,
    namespace,
    node,
    pod,
    service,
    service_account,
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
)
