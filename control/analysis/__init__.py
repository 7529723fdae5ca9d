"""The analyzers: what is valid, object by object, and still does not work together. One file each; here the explicit list."""

from __future__ import annotations

from control.analysis import (
    bound_gateways,
    delegates,
    destination_rules,
    destinations,
    gateways,
    injection,
    istio_annotations,
    mesh_hosts,
    mutual_tls,
    rate_limits,
    rules,
    schema,
    selectors,
    service_ports,
)
from control.analysis.analyzer import Analyzer

ANALYZERS: tuple[Analyzer, ...] = (
    schema.WARNINGS,
    mesh_hosts.ANALYZER,
    rules.ANALYZER,
    destinations.HOSTS,
    destinations.SUBSETS,
    bound_gateways.ANALYZER,
    delegates.DELEGATES,
    delegates.UNUSED,
    destination_rules.HOST,
    destination_rules.CONFLICTS,
    destination_rules.SUBSETS,
    destination_rules.CERTIFICATES,
    mutual_tls.CONFLICTS,
    selectors.ANALYZER,
    rate_limits.ANALYZER,
    gateways.PORTS,
    gateways.CREDENTIALS,
    gateways.CONFLICTS,
    injection.NAMESPACES,
    injection.PODS,
    service_ports.NAMES,
    service_ports.DEPLOYMENTS,
    istio_annotations.ANALYZER,
)
