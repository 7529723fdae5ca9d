"""What injection adds: the init container that writes the capture rules, the proxy, volumes.

Names, ports, probes and environment are Istio's; ARCHITECTURE.md has the part our sidecar reads.
Reference: istio's injection-template.yaml, gateway-injection-template.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from control.inject.annotations import (
    INTERCEPTION_MODE,
    PROXY,
    READINESS,
    STATUS_PORT,
    TRAFFIC,
)

Object = dict[str, Any]

IMAGE = "glassmesh/proxy"
INIT, PROXY_CONTAINER = "istio-init", "istio-proxy"
PROXY_UID = 1337
_EXCLUDED_INBOUND = ("15090", "15021", "15020")
_HEALTH_PORT = 15021
_TOKEN_SECONDS = 43200


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the template needs to know of a pod."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    workload: str
    app_containers: tuple[str, ...]
    ports: tuple[Object, ...]
    probers: Mapping[str, Object]
    proxy_config: Mapping[str, Any]
    trust_domain: str
    template: Literal["sidecar", "gateway"]

    @property
    def role(self) -> str:
        """What `python -m proxy` is asked to be."""
        if self.annotations.get(PROXY) == "envoy":
            return "agent"
        return "router" if self.template == "gateway" else "sidecar"


def init_container(facts: PodFacts) -> Object:
    """Writes the capture rules and ends. Options as istio-iptables takes them."""
    traffic = {
        name: facts.annotations[TRAFFIC + name]
        for name in (
            "excludeInboundPorts",
            "includeOutboundPorts",
            "excludeOutboundPorts",
            "excludeInterfaces",
        )
        if facts.annotations.get(TRAFFIC + name)
    }
    excluded = [*_EXCLUDED_INBOUND, *filter(None, traffic.get("excludeInboundPorts", "").split(","))]
    args = ["istio-iptables", "-p", "15001", "-z", "15006", "-u", str(PROXY_UID), "-m", "REDIRECT"]
    args += ["-i", facts.annotations.get(TRAFFIC + "includeOutboundIPRanges", "*")]
    args += ["-x", facts.annotations.get(TRAFFIC + "excludeOutboundIPRanges", "")]
    args += ["-b", facts.annotations.get(TRAFFIC + "includeInboundPorts", "*")]
    args += ["-d", ",".join(excluded)]
    for option, name in (
        ("-q", "includeOutboundPorts"),
        ("-o", "excludeOutboundPorts"),
        ("-c", "excludeInterfaces"),
    ):
        if name in traffic:
            args += [option, traffic[name]]
    return {
        "name": INIT,
        "image": IMAGE,
        "args": [*args, "--log_output_level=default:info"],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": False,
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
        },
    }


def proxy_container(facts: PodFacts) -> Object:
    container: Object = {
        "name": PROXY_CONTAINER,
        "image": IMAGE,
        "args": ["proxy", facts.role],
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "env": _environment(facts),
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "2000m", "memory": "1024Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsUser": PROXY_UID,
            "runAsGroup": PROXY_UID,
            "runAsNonRoot": True,
        },
        "volumeMounts": [
            {"name": "workload-socket", "mountPath": "/var/run/secrets/workload-spiffe-uds"},
            {"name": "credential-socket", "mountPath": "/var/run/secrets/credential-uds"},
            {"name": "workload-certs", "mountPath": "/var/run/secrets/workload-spiffe-credentials"},
            {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio"},
            {"name": "istio-data", "mountPath": "/var/lib/istio/data"},
            {"name": "istio-envoy", "mountPath": "/etc/istio/proxy"},
            {"name": "istio-token", "mountPath": "/var/run/secrets/tokens"},
            {"name": "istio-podinfo", "mountPath": "/etc/istio/pod"},
        ],
    }
    port = int(facts.annotations.get(STATUS_PORT, _HEALTH_PORT))
    if port:
        container |= _probes(facts, port)
    return container


def _probes(facts: PodFacts, port: int) -> Object:
    action = {"path": "/healthz/ready", "port": port, "scheme": "HTTP"}

    def number(name: str, default: int) -> int:
        return int(facts.annotations.get(READINESS + name, default))

    return {
        "startupProbe": {
            "httpGet": action,
            "periodSeconds": 1,
            "timeoutSeconds": 3,
            "failureThreshold": 600,
        },
        "readinessProbe": {
            "httpGet": action,
            "initialDelaySeconds": number("initialDelaySeconds", 0),
            "periodSeconds": number("periodSeconds", 15),
            "timeoutSeconds": 3,
            "failureThreshold": number("failureThreshold", 4),
        },
    }


def _field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _environment(facts: PodFacts) -> list[Object]:
    owner = f"kubernetes://apis/apps/v1/namespaces/{facts.namespace}/deployments/{facts.workload}"
    texts = {
        "PILOT_CERT_PROVIDER": "istiod",
        "CA_ADDR": str(facts.proxy_config.get("discoveryAddress", "")),
        "PROXY_CONFIG": _json(facts.proxy_config),
        "ISTIO_META_POD_PORTS": _json(list(facts.ports)),
        "ISTIO_META_APP_CONTAINERS": ",".join(facts.app_containers),
        "ISTIO_META_CLUSTER_ID": "Kubernetes",
        "ISTIO_META_INTERCEPTION_MODE": facts.annotations.get(INTERCEPTION_MODE, "REDIRECT"),
        "ISTIO_META_WORKLOAD_NAME": facts.workload,
        "ISTIO_META_OWNER": owner,
        "ISTIO_META_MESH_ID": facts.trust_domain,
        "ISTIO_METAJSON_LABELS": _json(dict(facts.labels)),
        "TRUST_DOMAIN": facts.trust_domain,
    }
    scrape = {
        name: facts.annotations[f"prometheus.io/{name}"]
        for name in ("scrape", "path", "port")
        if f"prometheus.io/{name}" in facts.annotations
    }
    if scrape:
        texts["ISTIO_PROMETHEUS_ANNOTATIONS"] = _json(scrape)
    if facts.probers:
        texts["ISTIO_KUBE_APP_PROBERS"] = _json(dict(facts.probers))
    for name, value in (facts.proxy_config.get("proxyMetadata") or {}).items():
        texts[name] = str(value)
    return [
        _field("POD_NAME", "metadata.name"),
        _field("POD_NAMESPACE", "metadata.namespace"),
        _field("INSTANCE_IP", "status.podIP"),
        _field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        _field("HOST_IP", "status.hostIP"),
        _field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        *({"name": name, "value": value} for name, value in texts.items()),
    ]


def volumes() -> list[Object]:
    empty: Object = {}
    return [
        {"name": "workload-socket", "emptyDir": empty},
        {"name": "credential-socket", "emptyDir": empty},
        {"name": "workload-certs", "emptyDir": empty},
        {"name": "istio-envoy", "emptyDir": {"medium": "Memory"}},
        {"name": "istio-data", "emptyDir": empty},
        {
            "name": "istio-podinfo",
            "downwardAPI": {
                "items": [
                    {"path": word, "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.{word}"}}
                    for word in ("labels", "annotations")
                ]
            },
        },
        {
            "name": "istio-token",
            "projected": {
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": "istio-ca",
                            "expirationSeconds": _TOKEN_SECONDS,
                            "path": "istio-token",
                        }
                    }
                ]
            },
        },
        {"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}},
    ]
