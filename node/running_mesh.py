"""A running mesh as a command of the host sees it: found by its state directory, asked over its socket.

Synchronous and small, because `exec` enters namespaces and must have no thread. Names of workloads are resolved here: `[NAMESPACE/]NAME`, where
NAME is a pod or a Deployment.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node import run_state
from node.run_state import RunState

DEFAULT_STATE = Path(".glassmesh")
SIDECAR = "istio-proxy"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class NotRunning(Exception):
    """No mesh runs with this state directory, or it has no such workload; the text is one line."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod as the node's socket describes it."""

    document: dict[str, Any]

    @property
    def namespace(self) -> str:
        return str(self.document["namespace"])

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def containers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.document["containers"]
        return found

    @property
    def ready(self) -> bool:
        return all(container["ready"] for container in self.containers if not container["init"])

    @property
    def workload(self) -> str:
        """The Deployment's name, else the pod's."""
        hashed = self.document["labels"].get("pod-template-hash")
        stem = self.name.rpartition("-")[0]
        return stem.removesuffix(f"-{hashed}") if hashed and stem.endswith(f"-{hashed}") else self.name

    def container(self, name: str | None) -> dict[str, Any]:
        """A container by name; without one the default container, else the first that is the app's. Raises NotRunning."""
        regular = [each for each in self.containers if not each["init"]]
        wanted = name or self.document["annotations"].get(DEFAULT_CONTAINER)
        for each in self.containers:
            if each["name"] == wanted:
                return each
        if name:
            names = ", ".join(each["name"] for each in self.containers)
            raise NotRunning(f"pod {self.namespace}/{self.name} has no container {name}, only {names}")
        return next((each for each in regular if each["name"] != SIDECAR), regular[0])


def find(state: Path) -> RunState:
    """The mesh of a state directory. Raises NotRunning."""
    run = run_state.read(state)
    if run is None or not run.alive:
        raise NotRunning(f"no mesh runs with {state} (start one with `glassmesh up`)")
    return run


def ask(state: Path, path: str) -> dict[str, Any]:
    """A JSON answer of the node. Raises NotRunning."""
    connection = _SocketConnection(state / "node.sock")
    try:
        connection.request("GET", path)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotRunning(f"the node of {state} does not answer: {error}") from error
    finally:
        connection.close()


def pods(state: Path) -> list[Pod]:
    return [Pod(document) for document in ask(state, "/pods")["pods"]]


def pod(found: Sequence[Pod], workload: str) -> Pod:
    """The pod meant by `[NAMESPACE/]NAME`, a ready one if there is a choice. Raises NotRunning."""
    namespace, slash, name = workload.rpartition("/")
    kind, _, _ = namespace.rpartition("/")[2].partition(".")
    if slash and kind in ("deploy", "deployment", "deployments", "pod", "pods", "po"):
        namespace = ""  # kubectl's spelling, TYPE/NAME
    candidates = [each for each in found if not namespace or each.namespace == namespace]
    matching = [each for each in candidates if name in (each.name, each.workload)]
    if not matching:
        known = ", ".join(sorted({each.workload for each in candidates})) or "none"
        raise NotRunning(f"no workload {workload}; there are: {known}")
    spaces = sorted({each.namespace for each in matching})
    if len(spaces) > 1 and "default" not in spaces:
        raise NotRunning(f"{workload} is in several namespaces: {', '.join(f'{s}/{name}' for s in spaces)}")
    if len(spaces) > 1:
        matching = [each for each in matching if each.namespace == "default"]
    return max(matching, key=lambda each: (each.ready, each.name))


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("node", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))
