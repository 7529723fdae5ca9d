"""Which further resources a listener or cluster names: what a proxy that polls type by type has to ask for next.

Pure. Reference: Envoy xDS protocol, "Resource warming"; §16.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from proxy.config.cluster import Cluster
from proxy.config.listener import Listener
from proxy.config.network_filters import HttpConnectionManager
from proxy.config.secret import CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext


def route_names(listeners: Iterable[Listener]) -> set[str]:
    """Names of the route configurations that come by RDS."""
    found = set()
    for listener in listeners:
        for chain in (*listener.filter_chains, *filter(None, (listener.default_filter_chain,))):
            for each in chain.filters:
                config = each.typed_config
                if isinstance(config, HttpConnectionManager) and config.rds is not None:
                    found.add(config.rds.route_config_name)
    return found


def endpoint_names(clusters: Iterable[Cluster]) -> set[str]:
    """Names of the load assignments that come by EDS."""
    return {
        (cluster.eds_cluster_config.service_name if cluster.eds_cluster_config else "") or cluster.name
        for cluster in clusters
        if cluster.type == "EDS"
    }


def secret_names(listeners: Iterable[Listener], clusters: Iterable[Cluster]) -> set[str]:
    """Names of the secrets that come by SDS."""
    contexts = (*_of_listeners(listeners), *_of_clusters(clusters))
    return {name for common in contexts for name in _secrets_of(common)}


def _of_listeners(listeners: Iterable[Listener]) -> Iterator[CommonTlsContext]:
    for listener in listeners:
        for chain in (*listener.filter_chains, *filter(None, (listener.default_filter_chain,))):
            socket = chain.transport_socket
            if socket is not None and isinstance(socket.typed_config, DownstreamTlsContext):
                yield socket.typed_config.common_tls_context


def _of_clusters(clusters: Iterable[Cluster]) -> Iterator[CommonTlsContext]:
    for cluster in clusters:
        sockets = [match.transport_socket for match in cluster.transport_socket_matches]
        for socket in (*sockets, *filter(None, (cluster.transport_socket,))):
            if isinstance(socket.typed_config, UpstreamTlsContext):
                yield socket.typed_config.common_tls_context


def _secrets_of(common: CommonTlsContext) -> Iterator[str]:
    for config in common.tls_certificate_sds_secret_configs:
        yield config.name
    combined = common.combined_validation_context
    sds = (
        combined.validation_context_sds_secret_config
        if combined
        else common.validation_context_sds_secret_config
    )
    if sds is not None:
        yield sds.name
