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
from control.resources.load_balancer import LocalityLoadBalancerSetting
from control.resources.model import Model
from control.trusted_callers import Features, Network

ForwardedClientCert = Literal[
    "UNDEFINED", "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
]


class OutboundTrafficPolicy(Model):
    """What happens to connections to hosts the registry does not know."""

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = "ALLOW_ANY"


class HttpRetryPolicy(Model):
    """The retry policy of routes that have none of their own; `attempts: 0` switches retries off."""

    attempts: int = 2
    retryOn: str = ""
    perTryTimeout: Duration | None = None
    backoff: Duration | None = None
    retryIgnorePreviousHosts: bool | None = None
    retryRemoteLocalities: bool | None = None


class Enabled(Model):
    """A header that is off unless it is switched on."""

    enabled: bool = False


class Disabled(Model):
    """A header that is on unless it is switched off."""

    disabled: bool = False


class ServerHeader(Disabled):
    """`server` of responses; disabled, the upstream's own is passed on."""

    value: str = ""


class ClientCertDetails(Model):
    """What of a client's certificate `x-forwarded-client-cert` tells."""

    subject: bool | None = None
    dns: bool | None = None
    uri: bool | None = None


class ProxyHeaders(Model):
    """Headers a proxy adds, and how it spells those of others."""

    preserveHttp1HeaderCase: Enabled | None = None
    forwardedClientCert: ForwardedClientCert | None = None
    setCurrentClientCertDetails: ClientCertDetails | None = None
    xForwardedHost: Enabled | None = None
    xForwardedPort: Enabled | None = None
    requestId: Disabled | None = None
    attemptCount: Disabled | None = None
    server: ServerHeader | None = None


class ProxyPathNormalization(Model):
    """How proxies spell a request's path before any rule looks at it; DEFAULT is BASE."""

    normalization: Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "DEFAULT"


class ProxyConfig(Model):
    """Defaults of every proxy; a pod overrides them with the annotation `proxy.istio.io/config`."""

    discoveryAddress: str = "istiod.istio-system.svc:15012"
    concurrency: int | None = Field(default=None, ge=0)
    drainDuration: Duration = "45s"
    terminationDrainDuration: AnyDuration = "5s"
    holdApplicationUntilProxyStarts: bool = False
    proxyMetadata: dict[str, str] | None = None
    proxyHeaders: ProxyHeaders | None = None


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
    pathNormalization: ProxyPathNormalization = Field(default_factory=ProxyPathNormalization)
    outboundTrafficPolicy: OutboundTrafficPolicy = Field(default_factory=OutboundTrafficPolicy)
    localityLbSetting: LocalityLoadBalancerSetting = Field(
        default_factory=lambda: LocalityLoadBalancerSetting(enabled=True)
    )
    defaultHttpRetryPolicy: HttpRetryPolicy = Field(default_factory=HttpRetryPolicy)
    meshNetworks: dict[str, Network] = Field(default_factory=dict)
    features: Features = Field(default_factory=Features)
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
    except OSError as exc:
        raise BadMeshConfig(f"{path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise BadMeshConfig(f"{path}: {exc}") from exc
    except ValidationError as exc:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_url=False)]
        raise BadMeshConfig("\n".join(lines)) from exc
