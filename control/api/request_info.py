"""What a request path means: which kind, namespace, object and subresource.

Pure. Reference: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from control.resources.kind import Kind


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """`namespace` None means all namespaces (or a cluster-wide kind); `name` None the whole collection."""

    kind: Kind
    version: str
    namespace: str | None
    name: str | None
    subresource: str | None

    @property
    def api_version(self) -> str:
        return f"{self.kind.group}/{self.version}" if self.kind.group else self.version


class Paths:
    """Reads paths against the kinds that are served."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds = {
            (kind.group, version, kind.plural): kind for kind in kinds for version in kind.versions
        }

    def read(self, path: str) -> RequestInfo | None:
        """The meaning of a path such as `/apis/apps/v1/namespaces/NS/deployments/NAME/scale`; None if it has none."""
        parts = path.strip("/").split("/")
        if parts[0] == "api":
            group, parts = "", parts[1:]
        elif parts[0] == "apis" and len(parts) > 1:
            group, parts = parts[1], parts[2:]
        else:
            return None
        if len(parts) < 2 or "" in parts:
            return None
        version, parts = parts[0], parts[1:]
        namespace = None
        # A namespace is itself an object; only a third part that names a kind makes it a scope.
        if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
            namespace, parts = parts[1], parts[2:]
        kind = self._kinds.get((group, version, parts[0]))
        if kind is None or len(parts) > 3 or (namespace is not None and not kind.namespaced):
            return None
        if kind.namespaced and namespace is None and len(parts) > 1:
            return None
        name = parts[1] if len(parts) > 1 else None
        return RequestInfo(kind, version, namespace, name, parts[2] if len(parts) > 2 else None)
