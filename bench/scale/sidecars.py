"""Real sidecars, ours and Envoy with its agent, each in a network namespace of its own at its pod's address.

Invariant: the namespaces end with their holders, which are children of the run. Needs `ip`, `unshare` and `nsenter`, and to be root in the
network namespace it runs in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.children import Child, Children, wait_until
from bench.machine import cpu_seconds, memory_kib
from bench.scale.mesh import Pod
from bench.scale.plane import GATEWAY, Plane
from bench.sidecars import ENVIRONMENT


@dataclass(eq=False)
class Sidecar:
    """`kind` is `glassmesh` or `envoy`; `child` is the sidecar, of Envoy the agent."""

    kind: str
    pod: Pod
    child: Child

    @property
    def pid(self) -> int:
        """The data plane: of Envoy the agent's child."""
        if self.kind == "glassmesh":
            return self.child.pid
        path = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children")
        return int(path.read_text().split()[0])

    def memory(self) -> dict[str, int]:
        return memory_kib(self.pid)

    def cpu(self) -> float:
        """Seconds so far, of Envoy with its agent."""
        return cpu_seconds(self.child.pid)


def start(
    children: Children, directory: Path, plane: Plane, kind: str, pod: Pod, token: str, number: int
) -> Sidecar:
    """Starts one; it is configured when the control plane says so."""
    holder = children.start(f"holder-{number}", ["unshare", "--net", "sleep", "infinity"])
    own = Path("/proc/self/ns/net").readlink()
    wait_until("a namespace", lambda: Path(f"/proc/{holder.pid}/ns/net").readlink() != own, [holder])
    _link(holder.pid, pod.ip, number)
    files = {"token": token, "root": plane.root_certificate}
    for name, text in files.items():
        (directory / f"{number}.{name}").write_text(text)
    role = ["sidecar"] if kind == "glassmesh" else ["agent"]
    argv = ["nsenter", "--target", str(holder.pid), "--net", sys.executable, "-m", "proxy", *role]
    environment = {
        **ENVIRONMENT,
        "POD_NAME": pod.name,
        "POD_NAMESPACE": pod.namespace,
        "SERVICE_ACCOUNT": pod.service_account,
        "INSTANCE_IP": pod.ip,
        "PROXY_CONFIG": json.dumps({"discoveryAddress": f"{GATEWAY}:{plane.ports['tls']}", "concurrency": 1}),
        "ISTIO_METAJSON_LABELS": json.dumps({"app": pod.app, "version": "v1"}),
        "GLASSMESH_TOKEN_FILE": str(directory / f"{number}.token"),
        "GLASSMESH_ROOT_CERT_FILE": str(directory / f"{number}.root"),
    }
    return Sidecar(kind, pod, children.start(f"{kind}-{number}", argv, env=environment))


def _link(holder: int, ip: str, number: int) -> None:
    here = f"scale{number}"
    _ip(
        f"link add {here} type veth peer name eth0 netns {holder}",
        f"addr add {GATEWAY}/32 dev {here}",
        f"link set {here} up",
        f"route add {ip}/32 dev {here}",
    )
    _ip(
        "link set lo up",
        f"addr add {ip}/32 dev eth0",
        "link set eth0 up",
        f"route add {GATEWAY}/32 dev eth0",
        inside=holder,
    )


def _ip(*lines: str, inside: int | None = None) -> None:
    command = ["ip", "-batch", "-"]
    if inside is not None:
        command = ["nsenter", "--target", str(inside), "--net", *command]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True, capture_output=True)
