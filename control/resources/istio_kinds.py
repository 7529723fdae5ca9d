"""The Istio kinds: the explicit list."""

from __future__ import annotations

from control.resources import destination_rule, gateway, peer_authentication, virtual_service
from control.resources.kind import Kind

ISTIO_KINDS: tuple[Kind, ...] = (
    virtual_service.KIND,
    destination_rule.KIND,
    gateway.KIND,
    peer_authentication.KIND,
)
