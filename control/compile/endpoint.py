"""Endpoints of a cluster: the ready workloads behind a service port, those of a subset.

Not-ready workloads are left out. Reference: istio's pilot/pkg/xds/endpoints/endpoint_builder.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from control.compile.locality import Group, Preference, by_locality, prefer
from control.compile.protobuf import ENDPOINT, Message, socket_address
from control.push.context import Endpoint, PushContext
from control.registry.service import Port, Service


def load_assignment(
    context: PushContext,
    cluster: str,
    service: Service,
    port: Port,
    labels: Mapping[str, str],
    preference: Preference | None,
) -> Message:
    """`labels` are the subset's; an endpoint must have them all. `preference` is the client's for what is near."""
    groups = by_locality(
        endpoint
        for endpoint in context.endpoints(service, port)
        if all(endpoint.workload.labels.get(key) == value for key, value in labels.items())
    )
    message: Message = {"@type": ENDPOINT, "cluster_name": cluster}
    if preference is not None:
        groups = prefer(groups, preference)
    if groups:
        message["endpoints"] = [_locality_endpoints(group) for group in groups]
    return message


def _locality_endpoints(group: Group) -> Message:
    where = group.locality
    parts = {"region": where.region, "zone": where.zone, "sub_zone": where.sub_zone}
    message: Message = {
        "locality": {part: name for part, name in parts.items() if name},
        "lb_endpoints": [_lb_endpoint(endpoint) for endpoint in group.endpoints],
        "load_balancing_weight": group.weight,
    }
    if group.priority:
        message["priority"] = group.priority
    return message


def _lb_endpoint(endpoint: Endpoint) -> Message:
    workload = endpoint.workload
    metadata: Message = {"istio": {"workload": workload.metadata}}
    if workload.accepts_mtls:
        metadata["envoy.transport_socket_match"] = {"tlsMode": "istio"}
    return {
        "endpoint": {"address": socket_address(workload.ip, endpoint.port)},
        "health_status": "HEALTHY",
        "load_balancing_weight": workload.weight,
        "metadata": {"filter_metadata": metadata},
    }
