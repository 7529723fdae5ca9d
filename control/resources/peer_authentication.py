"""PeerAuthentication: which mutual TLS a workload demands of its callers.

Reference: istio.io/api security/v1beta1/peer_authentication.proto; validation as istio's ValidatePeerAuthentication.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from control.resources.istio_object import IstioObject, istio_kind
from control.resources.istio_types import WorkloadSelector
from control.resources.kind import Column, FieldError, Object
from control.resources.model import Model


class MutualTLS(Model):
    """The mutual TLS mode of inbound connections; UNSET inherits."""

    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = "UNSET"


class PeerAuthenticationSpec(Model):
    """The mode for the selected workloads, a namespace, or (in the root namespace) the mesh."""

    selector: WorkloadSelector | None = None
    mtls: MutualTLS | None = None
    portLevelMtls: dict[str, MutualTLS] | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.portLevelMtls is None:
            return
        if not (self.selector and self.selector.matchLabels):
            yield FieldError(
                "portLevelMtls", "mesh/namespace peer authentication cannot have port level mTLS"
            )
        if not self.portLevelMtls:
            yield FieldError("portLevelMtls", "port level mTLS, if defined, must have at least one element")
        for port in self.portLevelMtls:
            if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
                why = f"port number {port} must be in the range 1..65535"
                yield FieldError(f"portLevelMtls.{port}", why)


class PeerAuthentication(IstioObject):
    """Defines mutual TLS (mTLS) requirements for incoming connections."""

    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()


def _mode(obj: Object) -> str:
    return str(((obj.get("spec") or {}).get("mtls") or {}).get("mode") or "")


KIND = istio_kind(
    PeerAuthentication,
    "peerauthentications",
    "security.istio.io",
    versions=("v1", "v1beta1"),
    short_names=("pa",),
    columns=(Column("Mode", _mode),),
)
