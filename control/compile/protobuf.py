"""The small messages of protobuf JSON that every resource is made of.

Field names are those of the `.proto` files (docs/adr/0001). Reference: Envoy api/envoy/config/core/v3.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from control.resources.istio_types import parse_duration

Message = dict[str, Any]

T = "type.googleapis.com/"
CLUSTER = T + "envoy.config.cluster.v3.Cluster"
ENDPOINT = T + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = T + "envoy.config.listener.v3.Listener"
ROUTE = T + "envoy.config.route.v3.RouteConfiguration"
SECRET = T + "envoy.extensions.transport_sockets.tls.v3.Secret"

# Where a proxy fetches a resource that another one names: the static cluster of its bootstrap.
CONFIG_SOURCE: Message = {
    "api_config_source": {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": ["xds-rest"],
        "request_timeout": "60s",
        "refresh_delay": "0.100s",
    },
    "resource_api_version": "V3",
    "initial_fetch_timeout": "0s",
}


def extension(name: str, type_name: str, **fields: Any) -> Message:
    """A named extension with its typed config: a filter, a transport socket, a logger."""
    return {"name": name, "typed_config": {"@type": T + type_name, **fields}}


def typed_struct(name: str, type_name: str, value: Message) -> Message:
    """An extension whose message only Istio's Envoy build knows."""
    return extension(name, "udpa.type.v1.TypedStruct", type_url=T + type_name, value=value)


def socket_address(address: str, port: int) -> Message:
    return {"socket_address": {"address": address, "port_value": port}}


def duration(text: str) -> str:
    """An Istio duration (`1m30s`, `250ms`) as protobuf JSON writes it (`90s`, `0.250s`)."""
    return seconds(parse_duration(text))


def seconds(value: Decimal) -> str:
    if value == value.to_integral_value():
        return f"{int(value)}s"
    return f"{value.quantize(Decimal('0.001'))}s"


def istio_metadata(**fields: Any) -> Message:
    """`metadata` under Istio's key, which command line tools and metrics read."""
    return {"filter_metadata": {"istio": fields}}


def config_path(plural: str, namespace: str, name: str) -> str:
    """The object a resource was made from, as Istio writes it into metadata."""
    return f"/apis/networking.istio.io/v1/namespaces/{namespace}/{plural}/{name}"
