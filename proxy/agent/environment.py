"""Reads how the injector configured this sidecar: environment variables and mounted files.

Decides names and defaults only; opens no file and no socket. A value that cannot be read raises `SettingsError`
with the variable's name in one line. The variables are listed in ARCHITECTURE.md; defaults are Istio's
(pkg/config/mesh/mesh.go, pilot/cmd/pilot-agent).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.tls.spiffe import Identity

TOKEN_FILE = "/var/run/secrets/tokens/istio-token"  # noqa: S105 - a path
ROOT_CERT_FILE = "/var/run/secrets/istio/root-cert.pem"
DISCOVERY_ADDRESS = "istiod.istio-system.svc:15012"
ROLES = ("sidecar", "router")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class SettingsError(ValueError):
    """The environment or a bootstrap file cannot be used; the text is one line for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a sidecar's own pages are; `relay` is only the agent's."""

    admin: int = 15000
    agent: int = 15020
    status: int = 15021
    stats: int = 15090
    relay: int = 15009


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Durations are seconds; addresses are (host, port)."""

    role: str
    pod_name: str
    namespace: str
    ip: str
    service_account: str
    trust_domain: str
    discovery_address: tuple[str, int]
    token_file: Path
    root_cert_file: Path
    drain_duration: float
    termination_drain_duration: float
    secret_ttl: float
    metadata: Mapping[str, Any]
    proxy_config: Mapping[str, Any]
    app_probers: Mapping[str, Any]
    prometheus_annotations: Mapping[str, Any]
    ports: Ports = Ports()

    @property
    def node_id(self) -> str:
        return f"{self.role}~{self.ip}~{self.pod_name}.{self.namespace}~{self.namespace}.svc.cluster.local"

    @property
    def identity(self) -> str:
        """The SPIFFE URI this workload will be certified as."""
        return str(Identity(self.trust_domain, self.namespace, self.service_account))

    @property
    def node_cluster(self) -> str:
        """`APP.NAMESPACE`, the tracing service name: app label, else workload name (Istio, reference §11)."""
        labels = self.metadata.get("LABELS") or {}
        app = labels.get("app") or self.metadata.get("WORKLOAD_NAME") or "istio-proxy"
        return f"{app}.{self.namespace}"

    def node(self, user_agent: str) -> dict[str, Any]:
        """The xDS node, in proto field names."""
        return {
            "id": self.node_id,
            "cluster": self.node_cluster,
            "metadata": dict(self.metadata),
            "user_agent_name": user_agent,
        }


def read(role: str, environment: Mapping[str, str]) -> Settings:
    """Settings of a `sidecar` or `router` from environment variables."""
    proxy_config = _json(environment, "PROXY_CONFIG")
    namespace = environment.get("POD_NAMESPACE", "default")
    service_account = environment.get("SERVICE_ACCOUNT", "default")
    pod_name = environment.get("POD_NAME") or environment.get("HOSTNAME")
    if not pod_name:
        raise SettingsError("POD_NAME is not set: a sidecar needs the name of its pod")
    ip = environment.get("INSTANCE_IP") or "127.0.0.1"
    metadata = _metadata(environment)
    metadata |= {
        "NAME": pod_name,
        "NAMESPACE": namespace,
        "SERVICE_ACCOUNT": service_account,
        "INSTANCE_IPS": ip,
        "PROXY_CONFIG": dict(proxy_config),
    }
    metadata.setdefault("CLUSTER_ID", "Kubernetes")
    metadata.setdefault("INTERCEPTION_MODE", "REDIRECT")
    return Settings(
        role=role,
        pod_name=pod_name,
        namespace=namespace,
        ip=ip,
        service_account=service_account,
        trust_domain=environment.get("TRUST_DOMAIN") or "cluster.local",
        discovery_address=_address(str(proxy_config.get("discoveryAddress") or DISCOVERY_ADDRESS)),
        token_file=Path(environment.get("GLASSMESH_TOKEN_FILE") or TOKEN_FILE),
        root_cert_file=Path(environment.get("GLASSMESH_ROOT_CERT_FILE") or ROOT_CERT_FILE),
        drain_duration=duration(str(proxy_config.get("drainDuration", "45s")), "drainDuration"),
        termination_drain_duration=_termination_drain(environment, proxy_config),
        secret_ttl=duration(environment.get("SECRET_TTL", "24h"), "SECRET_TTL"),
        metadata=metadata,
        proxy_config=proxy_config,
        app_probers=_json(environment, "ISTIO_KUBE_APP_PROBERS"),
        prometheus_annotations=_json(environment, "ISTIO_PROMETHEUS_ANNOTATIONS"),
        ports=_ports(environment, proxy_config),
    )


def _ports(environment: Mapping[str, str], proxy_config: Mapping[str, Any]) -> Ports:
    """Istio's own names: two in ProxyConfig, two in the environment."""
    given = {
        "admin": ("proxyAdminPort", proxy_config.get("proxyAdminPort")),
        "agent": ("statusPort", proxy_config.get("statusPort")),
        "status": ("ENVOY_STATUS_PORT", environment.get("ENVOY_STATUS_PORT")),
        "stats": ("ENVOY_PROMETHEUS_PORT", environment.get("ENVOY_PROMETHEUS_PORT")),
        "relay": ("GLASSMESH_RELAY_PORT", environment.get("GLASSMESH_RELAY_PORT")),
    }
    ports = {}
    for field, (name, value) in given.items():
        if value is not None:
            if not str(value).isdigit() or int(value) > 65535:
                raise SettingsError(f"{name}: {value!r} is not a port")
            ports[field] = int(value)
    return Ports(**ports)


def duration(text: str, name: str) -> float:
    """Seconds of a Go or protobuf duration such as `45s`, `1m30s`, `0.5s`."""
    parts = _DURATION.findall(text)
    if text != "0" and (not parts or "".join(n + u for n, u in parts) != text):
        raise SettingsError(f"{name}: {text!r} is not a duration such as 45s")
    return float(sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))


def _termination_drain(environment: Mapping[str, str], proxy_config: Mapping[str, Any]) -> float:
    seconds = environment.get("TERMINATION_DRAIN_DURATION_SECONDS")
    if seconds:
        return duration(seconds + "s", "TERMINATION_DRAIN_DURATION_SECONDS")
    return duration(str(proxy_config.get("terminationDrainDuration", "5s")), "terminationDrainDuration")


def _metadata(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sorted(environment.items()):
        if name.startswith("ISTIO_METAJSON_"):
            found[name.removeprefix("ISTIO_METAJSON_")] = _parsed(name, value)
        elif name.startswith("ISTIO_META_"):
            found[name.removeprefix("ISTIO_META_")] = value
    return found


def _json(environment: Mapping[str, str], name: str) -> dict[str, Any]:
    text = environment.get(name)
    value = _parsed(name, text) if text else {}
    if not isinstance(value, dict):
        raise SettingsError(f"{name}: want a JSON object")
    return value


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{name}: not JSON: {error}") from error


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise SettingsError(f"discoveryAddress: {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
