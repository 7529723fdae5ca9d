"""The kubeconfig: how kubectl finds the API and proves who it is. It holds a secret, so only its owner may read it."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import yaml


def kubeconfig(server: str, root_certificate: bytes, token: str, namespace: str = "default") -> str:
    """The text of a kubeconfig for `server` (`https://HOST:PORT`), trusting one root (PEM)."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "glassmesh",
        "clusters": [
            {
                "name": "glassmesh",
                "cluster": {
                    "server": server,
                    "certificate-authority-data": base64.b64encode(root_certificate).decode(),
                },
            }
        ],
        "users": [{"name": "glassmesh-admin", "user": {"token": token}}],
        "contexts": [
            {
                "name": "glassmesh",
                "context": {"cluster": "glassmesh", "user": "glassmesh-admin", "namespace": namespace},
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def write_kubeconfig(path: Path, server: str, root_certificate: bytes, token: str) -> None:
    """Write a kubeconfig with mode 0600, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(kubeconfig(server, root_certificate, token))
    new.replace(path)
