"""Clusters: one per service port and subset a proxy may call, one per port it serves, and the well-known ones.

Reference: istio's pilot/pkg/networking/core/cluster.go, cluster_builder.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from control.compile import names
from control.compile.endpoint import load_assignment
from control.compile.load_balancer import balancing_fields, locality_setting, preference
from control.compile.locality import client_key, client_of
from control.compile.protobuf import CLUSTER, CONFIG_SOURCE, Message, config_path, istio_metadata
from control.compile.proxy_headers import proxy_headers
from control.compile.resource import Resource, resource
from control.compile.tls import RAW_BUFFER, auto_mtls_matches, mesh_client, originate
from control.compile.traffic_policy import Policy, effective_policy, pool_fields
from control.push.config import DestinationRuleConfig
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.registry.service import Port, Service
from control.resources.destination_rule import Subset

# The address the sidecar calls its app from, so that the capture rules know the connection and the app sees a local peer.
_INBOUND_BIND = {"source_address": {"address": "127.0.0.6", "port_value": 0}}


def passthrough_cluster(name: str, connect_timeout: str) -> Message:
    """Forwards to where the connection was going."""
    message: Message = {
        "@type": CLUSTER,
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": connect_timeout,
    }
    if name == names.INBOUND_PASSTHROUGH:
        message["upstream_bind_config"] = _INBOUND_BIND
    return message


def black_hole_cluster(connect_timeout: str) -> Message:
    """Has no endpoints: what is sent there ends."""
    return {
        "@type": CLUSTER,
        "name": names.BLACK_HOLE,
        "type": "STATIC",
        "connect_timeout": connect_timeout,
        "load_assignment": {"cluster_name": names.BLACK_HOLE},
    }


def inbound_cluster(context: PushContext, service: Service, port: Port, target: int) -> Message:
    """The app itself, at the address the connection came for. Its pool limits are those clients of the service have."""
    rule = context.destination_rule(service.hostname, service.namespace, {})
    policy = effective_policy(rule.spec if rule else None, None, port.number)
    return {
        **passthrough_cluster(names.inbound_cluster(target), ""),
        **pool_fields(context.mesh, policy.at_the_server),
        "upstream_bind_config": _INBOUND_BIND,
        "metadata": istio_metadata(services=[_service_metadata(service)]),
    }


Pair = tuple[Resource, Resource | None]


def outbound_clusters(context: PushContext, proxy: Proxy) -> Iterator[Pair]:
    """Each cluster a proxy may call, with its endpoints; those that find their own endpoints have None."""
    client = (proxy.kind, proxy_headers(context.mesh, proxy), client_key(context, proxy))
    kept = context.kept.clusters
    for service in context.visible_services(proxy.namespace):
        rule = context.destination_rule(service.hostname, proxy.namespace, proxy.labels)
        mode = context.peers.of_namespace(service.namespace)
        yield from kept.get(
            (service.hostname, rule and rule.source, mode, client),
            (service, context.backends(service), rule),
            lambda service=service, rule=rule: list(_of_service(context, proxy, service, rule)),  # type: ignore[misc]
        )


def _of_service(
    context: PushContext, proxy: Proxy, service: Service, rule: DestinationRuleConfig | None
) -> Iterator[Pair]:
    headers = proxy_headers(context.mesh, proxy)
    for port in service.ports:
        for subset in (None, *((rule.spec.subsets or ()) if rule else ())):
            cluster, endpoints = _outbound(context, proxy, service, port, rule, subset)
            found = resource(headers.cluster(cluster))
            yield found, None if endpoints is None else resource(endpoints)


def _outbound(
    context: PushContext,
    proxy: Proxy,
    service: Service,
    port: Port,
    rule: DestinationRuleConfig | None,
    subset: Subset | None,
) -> tuple[Message, Message | None]:
    policy = effective_policy(rule.spec if rule else None, subset, port.number)
    subset_name = subset.name if subset else ""
    name = names.outbound_cluster(port.number, subset_name, service.hostname)
    message: Message = {
        "@type": CLUSTER,
        "name": name,
        **_discovery(context, proxy, service, policy, name),
        **pool_fields(context.mesh, policy),
        **_transport(context, service, port, subset_name, policy),
        "metadata": _metadata(service, rule, subset_name),
    }
    if message["type"] != "EDS":
        return message, None
    labels = (subset.labels if subset else None) or {}
    preferred = preference(context.mesh, service, policy, client_of(context, proxy))
    return message, load_assignment(context, name, service, port, labels, preferred)


def _discovery(context: PushContext, proxy: Proxy, service: Service, policy: Policy, name: str) -> Message:
    # A gateway has no original destination to go to, so it needs the endpoints.
    if (service.headless or policy.passthrough) and proxy.kind == "sidecar":
        return {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    return {
        "type": "EDS",
        "eds_cluster_config": {"eds_config": CONFIG_SOURCE, "service_name": name},
        **balancing_fields(policy, locality_setting(context.mesh, service, policy)[0]),
    }


def _transport(context: PushContext, service: Service, port: Port, subset: str, policy: Policy) -> Message:
    sni = names.sni(port.number, subset, service.hostname)
    tls = policy.tls
    if tls is None:
        return _auto_mtls(context, service, sni)
    if tls.mode == "DISABLE":
        return {}
    if tls.mode == "ISTIO_MUTUAL":
        identities = tls.subjectAltNames or context.identities(service)
        return {"transport_socket": mesh_client(tls.sni or sni, identities)}
    return {"transport_socket": originate(tls)}


def _auto_mtls(context: PushContext, service: Service, sni: str) -> Message:
    if not context.mesh.enableAutoMtls or context.peers.of_namespace(service.namespace) == "DISABLE":
        return {}
    workloads = context.workloads_of(service)
    if service.headless:
        # The endpoint is only known when a connection arrives, so its label cannot be looked at.
        capable = bool(workloads) and all(workload.accepts_mtls for workload in workloads)
        return {"transport_socket": mesh_client(sni, context.identities(service)) if capable else RAW_BUFFER}
    return {"transport_socket_matches": auto_mtls_matches(sni, context.identities(service))}


def _service_metadata(service: Service) -> Message:
    return {"host": service.hostname, "name": service.name, "namespace": service.namespace}


def _metadata(service: Service, rule: DestinationRuleConfig | None, subset: str) -> Message:
    fields: Message = {"services": [_service_metadata(service)]}
    if rule is not None:
        fields["config"] = config_path("destination-rule", rule.source.namespace, rule.source.name)
    if subset:
        fields["subset"] = subset
    return istio_metadata(**fields)
