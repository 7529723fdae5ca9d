"""A mesh under test: started and ended with the command, asked through the API, entered with `glassmesh exec`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cli.client import APPLY, ApiFailure, Client
from cli.kubeconfig import load
from node import run_state

T = TypeVar("T")
Object = dict[str, Any]
GLASSMESH = [sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main())"]
MERGE = "application/merge-patch+json"


class Mesh:
    """One state directory."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.looked_at = False
        # The network namespaces that were ever its own, by inode. Each is held open by a descriptor:
        # a freed inode would soon be another mesh's.
        self.networks: dict[int, int] = {}
        self._client: Client | None = None

    def command(self, *arguments: str) -> list[str]:
        return [*GLASSMESH, arguments[0], "--state", str(self.state), *arguments[1:]]

    def glassmesh(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, timeout=120
        )
        if check:
            assert done.returncode == 0, (arguments, done.stdout, done.stderr, self.logs())
        return done.stdout + done.stderr

    def logs(self) -> str:
        paths = [self.state / "logs" / name for name in ("node.log", "control.log")]
        return "\n".join(path.read_text()[-4000:] for path in paths if path.exists())

    def up(self, *arguments: str) -> str:
        told = self.glassmesh("up", "--detach", "--gateway-port", "0", *arguments)
        self.remember()
        return told

    def down(self) -> str:
        with contextlib.suppress(OSError):
            self.remember()
        return self.glassmesh("down")

    @property
    def pid(self) -> int:
        run = run_state.read(self.state)
        assert run is not None
        return run.pid

    @property
    def gateway_port(self) -> int:
        run = run_state.read(self.state)
        assert run is not None
        return run.gateway_port

    # Through the API.

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client(load(self.state / "kubeconfig"))
        return self._client

    def apply(self, *objects: Object) -> None:
        for obj in objects:
            resource = self.client.of_object(obj)
            assert resource is not None
            path = resource.path(obj["metadata"].get("namespace"), obj["metadata"]["name"])
            self.client.request(
                "PATCH", path, {"fieldManager": "t", "force": "true"}, obj, content_type=APPLY
            )

    def patch(self, path: str, patch: Object) -> Object:
        return self.client.request("PATCH", path, body=patch, content_type=MERGE)[1]

    def get(self, path: str) -> Object:
        return self.client.get(path)

    def delete(self, path: str) -> None:
        self.client.request("DELETE", path)

    def gone(self, path: str) -> bool:
        try:
            self.client.get(path)
        except ApiFailure as error:
            return error.reason == "NotFound"
        return False

    def pods(self, app: str, namespace: str = "plain") -> list[Object]:
        items = self.client.get(f"/api/v1/namespaces/{namespace}/pods", {"labelSelector": f"app={app}"})[
            "items"
        ]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, app: str, count: int = 1, namespace: str = "plain") -> list[Object]:
        """The pods of an app, once exactly `count` exist and all are ready."""

        def check() -> list[Object] | None:
            pods = self.pods(app, namespace)
            return pods if len(pods) == count and all(is_ready(pod) for pod in pods) else None

        return self.wait(check, f"{count} ready pods of {app}")

    def events(self, reason: str, about: str, namespace: str = "plain") -> list[str]:
        items = self.client.get(f"/api/v1/namespaces/{namespace}/events")["items"]
        return [
            e["message"]
            for e in items
            if e["reason"] == reason and e["involvedObject"]["name"].startswith(about)
        ]

    def wait(self, check: Callable[[], T | None], what: str, seconds: float = 40) -> T:
        """The first true answer of `check`."""
        deadline = time.monotonic() + seconds
        while True:
            if found := check():
                return found
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}\n{self.logs()}"
            time.sleep(0.05)

    # Inside.

    def exec(self, workload: str, *command: str, root: bool = False, check: bool = True) -> str:
        return self.glassmesh("exec", *(["--root"] if root else []), workload, "--", *command, check=check)

    def python(self, workload: str, script: str) -> Any:
        """Runs a script in a workload and reads the JSON it prints."""
        return json.loads(self.exec(workload, "python3", "-c", script))

    def remember(self) -> None:
        """Notes the mesh's network namespaces, to look for them when it is gone."""
        self.looked_at = True
        inside = Path(f"/proc/{self.pid}/root/proc")
        for process in inside.iterdir():
            if process.name.isdigit():
                with contextlib.suppress(OSError):
                    self._hold(os.open(process / "ns/net", os.O_RDONLY))

    def _hold(self, namespace: int) -> None:
        inode = os.fstat(namespace).st_ino
        if inode in self.networks or inode == network_of(os.getpid()):
            os.close(namespace)
        else:
            self.networks[inode] = namespace

    def _wait_until_nobody_is_inside(self) -> None:
        """A process that was killed is there until the kernel has taken its memory back, on a busy machine an instant after `down`."""
        end = time.monotonic() + 5
        while inside := [f"{pid} {line}" for pid, line in processes() if network_of(pid) in self.networks]:
            assert time.monotonic() < end, inside
            time.sleep(0.02)

    def assert_nothing_left(self) -> None:
        """No process in the mesh's namespaces or with its state, no link of ours, no rule of ours, no named namespace."""
        assert self.looked_at, "the mesh was never looked at"
        mentions = [line for pid, line in processes() if str(self.state) in line and "pytest" not in line]
        assert not mentions
        self._wait_until_nobody_is_inside()
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
        assert not [line for line in rules.splitlines() if "ISTIO_" in line or "KUBE-" in line]
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        assert "mesh0" not in links
        assert "veth0af4" not in links
        assert not [name for name in Path("/run/netns").glob("*") if name.stat().st_ino in self.networks]
        while self.networks:
            os.close(self.networks.popitem()[1])


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def processes() -> list[tuple[int, str]]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    found.append((int(process.name), line))
    return found


def network_of(pid: int) -> int:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return 0


def deployment(
    name: str, command: Sequence[str], replicas: int = 1, namespace: str = "plain", **container: Any
) -> Object:
    """A Deployment of one container."""
    own = {"name": name, "image": "glassmesh/demo-apps", "command": list(command)} | container
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [own]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def service(name: str, port: int, namespace: str = "plain", **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": ports} | spec,
    }
