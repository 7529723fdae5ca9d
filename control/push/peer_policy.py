"""Which mutual TLS mode holds for a workload and a port.

Order: the workload policy's port, the workload policy, the namespace's, the mesh's, PERMISSIVE; UNSET inherits; the oldest of a
scope counts. Reference: istio's pilot/pkg/security/authn/policy_applier.go (ComposePeerAuthentication).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from control.push.config import PeerAuthenticationConfig
from control.resources.peer_authentication import MutualTLS

Mode = Literal["DISABLE", "PERMISSIVE", "STRICT"]


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """The mode of a workload, and of the ports that differ."""

    mode: Mode
    ports: Mapping[int, Mode]

    def of(self, port: int) -> Mode:
        return self.ports.get(port, self.mode)


def _set(mtls: MutualTLS | None) -> Mode | None:
    return None if mtls is None or mtls.mode == "UNSET" else mtls.mode


def _oldest(policies: Iterable[PeerAuthenticationConfig]) -> PeerAuthenticationConfig | None:
    return min(policies, key=lambda p: p.source.age, default=None)


class PeerPolicies:
    """All PeerAuthentications, asked per workload or per namespace."""

    def __init__(self, policies: Iterable[PeerAuthenticationConfig], root_namespace: str) -> None:
        self._root = root_namespace
        self._by_namespace: dict[str, list[PeerAuthenticationConfig]] = {}
        self._modes: dict[str, Mode] = {}
        for policy in policies:
            self._by_namespace.setdefault(policy.source.namespace, []).append(policy)

    def _wide(self, namespace: str) -> Mode | None:
        policy = _oldest(p for p in self._by_namespace.get(namespace, ()) if not p.labels)
        return _set(policy.spec.mtls) if policy else None

    def of_namespace(self, namespace: str) -> Mode:
        """The mode of a namespace without regard to workload policies."""
        if namespace not in self._modes:
            self._modes[namespace] = self._wide(namespace) or self._wide(self._root) or "PERMISSIVE"
        return self._modes[namespace]

    def of_workload(self, namespace: str, labels: Mapping[str, str]) -> PeerPolicy:
        wide = self.of_namespace(namespace)
        candidates = self._by_namespace.get(namespace, ()) if namespace != self._root else ()
        chosen = _oldest(
            p
            for p in candidates
            if p.labels and all(labels.get(key) == value for key, value in p.labels.items())
        )
        if chosen is None:
            return PeerPolicy(wide, {})
        mode = _set(chosen.spec.mtls) or wide
        ports = {int(port): _set(mtls) or mode for port, mtls in (chosen.spec.portLevelMtls or {}).items()}
        return PeerPolicy(mode, ports)
