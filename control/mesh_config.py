"""MeshConfig: what holds for the whole mesh, with Istio's names and defaults.

Reference: istio.io/api mesh/v1alpha1/config.proto, istio's pkg/config/mesh/mesh.go. One default differs: the access log is on, as in
Istio's demo profile, because this mesh is for looking at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from control.resources.istio_types import AnyDuration, Duration
from control.resources.model import Model


class OutboundTrafficPolicy(Model):
    """What happens to connections to hosts the registry does not know."""

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = "ALLOW_ANY"


class HttpRetryPolicy(Model):
    """The retry policy of routes that have none of their own; `attempts: 0` switches retries off."""

    attempts: int = 2
    retryOn: str = "connect-failure,refused-stream,unavailable,cancelled"


class ProxyConfig(Model):
    """Defaults of every proxy; a pod overrides them with the annotation `proxy.istio.io/config`."""

    discoveryAddress: str = "istiod.istio-system.svc:15012"
    concurrency: int | None = None
    drainDuration: Duration = "45s"
    terminationDrainDuration: AnyDuration = "5s"
    holdApplicationUntilProxyStarts: bool = False
    proxyMetadata: dict[str, str] | None = None


class MeshConfig(Model):
    """Settings of the mesh. Unknown fields are errors."""

    trustDomain: str = "cluster.local"
    rootNamespace: str = "istio-system"
    clusterDomain: str = "cluster.local"
    enableAutoMtls: bool = True
    connectTimeout: Duration = "10s"
    protocolDetectionTimeout: AnyDuration = "0s"
    accessLogFile: str = "/dev/stdout"
    accessLogFormat: str = ""
    accessLogEncoding: Literal["TEXT", "JSON"] = "TEXT"
    enablePrometheusMerge: bool = True
    outboundTrafficPolicy: OutboundTrafficPolicy = Field(default_factory=OutboundTrafficPolicy)
    defaultHttpRetryPolicy: HttpRetryPolicy = Field(default_factory=HttpRetryPolicy)
    defaultConfig: ProxyConfig = Field(default_factory=ProxyConfig)


class BadMeshConfig(ValueError):
    """The mesh config file cannot be used; the text says every reason."""


def load_mesh_config(path: Path | None) -> MeshConfig:
    """Read a YAML file; None gives the defaults. Raises BadMeshConfig."""
    if path is None:
        return MeshConfig()
    try:
        content: Any = yaml.load(path.read_text(), Loader=yaml.CSafeLoader) or {}
        return MeshConfig.model_validate(content)
    except yaml.YAMLError as exc:
        raise BadMeshConfig(f"{path}: {exc}") from exc
    except ValidationError as exc:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_url=False)]
        raise BadMeshConfig("\n".join(lines)) from exc
