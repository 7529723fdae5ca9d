"""How connection managers spell a request's path before any rule looks at it, as the mesh config says.

Reference: istio.io/api mesh/v1alpha1 ProxyPathNormalization; istio's pilot/pkg/networking/core/listener.go
(buildHTTPConnectionManager).
"""

from __future__ import annotations

from control.compile.protobuf import Message
from control.mesh_config import MeshConfig

_BASE: Message = {"normalize_path": True, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"}
_FIELDS: dict[str, Message] = {
    "NONE": {"normalize_path": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
    "DEFAULT": _BASE,
    "BASE": _BASE,
    "MERGE_SLASHES": {**_BASE, "merge_slashes": True},
    "DECODE_AND_MERGE_SLASHES": {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}


def path_normalization(mesh: MeshConfig) -> Message:
    """Fields of the connection manager."""
    return _FIELDS[mesh.pathNormalization.normalization]
