"""Endpoints of a cluster: the ready workloads behind a service port, those of a subset.

Not-ready workloads are left out. Reference: istio's pilot/pkg/xds/endpoints/endpoint_builder.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from control.compile.protobuf import ENDPOINT, Message, socket_address
from control.push.context import Endpoint, PushContext
from control.registry.service import Port, Service


def load_assignment(
    context: PushContext, cluster: str, service: Service, port: Port, labels: Mapping[str, str]
) -> Message:
    """`labels` are the subset's; an endpoint must have them all."""
    endpoints = [
        _lb_endpoint(endpoint)
        for endpoint in context.endpoints(service, port)
        if all(endpoint.workload.labels.get(key) == value for key, value in labels.items())
    ]
    message: Message = {"@type": ENDPOINT, "cluster_name": cluster}
    if endpoints:
        message["endpoints"] = [
            {"locality": {}, "lb_endpoints": endpoints, "load_balancing_weight": len(endpoints)}
        ]
    return message


def _lb_endpoint(endpoint: Endpoint) -> Message:
    workload = endpoint.workload
    metadata: Message = {"istio": {"workload": workload.metadata}}
    if workload.accepts_mtls:
        metadata["envoy.transport_socket_match"] = {"tlsMode": "istio"}
    return {
        "endpoint": {"address": socket_address(workload.ip, endpoint.port)},
        "health_status": "HEALTHY",
        "load_balancing_weight": 1,
        "metadata": {"filter_metadata": metadata},
    }
