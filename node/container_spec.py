"""The description of a container that the shim turns into a process.

Pure, but for making sure that mount points exist: from the pod, what the node decided, and the volumes to one `Spec`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from node import images
from node.api_client import Object
from node.environment import Lookup, command_line, first_port, user, variables
from node.network import DNS as DNS_ADDRESS
from node.pod_fields import Placement
from node.view import View
from node.volumes import Mount, Volumes

STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The interpreter of this mesh first: a `python3` in a manifest finds the demo apps.
PATH = f"{Path(sys.executable).parent}:{STANDARD_PATH}"


@dataclass(frozen=True, slots=True)
class Spec:
    """What the shim is told (see node/shim.py)."""

    argv: list[str]
    env: Mapping[str, str]
    directory: str
    uid: int
    gid: int
    groups: list[int]
    hostname: str
    network: str
    mounts: list[Mount]

    def document(self) -> dict[str, Any]:
        return asdict(self)

    def command_inside(self, argv: list[str], pid: int) -> dict[str, Any]:
        """The same user and environment for another command in the container whose process is `pid`."""
        kept = ("env", "directory", "uid", "gid", "groups")
        return {name: getattr(self, name) for name in kept} | {"argv": argv, "join": pid}


def build(
    pod: Object,
    container: Object,
    network: Path,
    placement: Placement,
    volumes: Volumes,
    view: View,
    lookup: Lookup,
) -> Spec:
    """Raises UnknownImage, UnknownField."""
    program = images.program(
        container.get("image", ""),
        container.get("command") or (),
        container.get("args") or (),
        first_port(container),
    )
    hostname = pod["spec"].get("hostname") or pod["metadata"]["name"]
    base = _base_environment(hostname) | dict(program.env)
    env = variables(pod, container, base, placement, lookup)
    uid, gid, groups = user(pod, container, program)
    mounts = [*_pod_files(pod, hostname, volumes, placement), *volumes.mounts(container)]
    return Spec(
        argv=command_line(program, env),
        env=env,
        directory=container.get("workingDir") or "/",
        uid=uid,
        gid=gid,
        groups=groups,
        hostname=hostname,
        network=os.fspath(network),
        mounts=[_placed(mount, view) for mount in mounts],
    )


def _base_environment(hostname: str) -> dict[str, str]:
    return {"PATH": PATH, "HOSTNAME": hostname, "HOME": "/", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def _placed(mount: Mount, view: View) -> Mount:
    """The mount at a target that exists: with links followed, and room made where the host has none."""
    target = view.ensure_mount_point(Path(mount.target), mount.directory)
    return Mount(mount.source, os.fspath(target), mount.read_only, mount.directory)


def _pod_files(pod: Object, hostname: str, volumes: Volumes, placement: Placement) -> list[Mount]:
    texts = {
        "resolv.conf": resolv_conf(pod),
        "hosts": hosts(pod, hostname, placement.pod_ip),
        "hostname": hostname + "\n",
    }
    return [
        Mount(os.fspath(volumes.write_pod_file(name, text)), f"/etc/{name}", True, False)
        for name, text in texts.items()
    ]


def resolv_conf(pod: Object) -> str:
    """What the kubelet writes for dnsPolicy ClusterFirst, with dnsConfig added."""
    namespace = pod["metadata"]["namespace"]
    extra = pod["spec"].get("dnsConfig") or {}
    servers = [DNS_ADDRESS, *(extra.get("nameservers") or [])]
    search = [
        f"{namespace}.svc.cluster.local",
        "svc.cluster.local",
        "cluster.local",
        *(extra.get("searches") or []),
    ]
    options = {"ndots": "5"} | {o["name"]: o.get("value") or "" for o in extra.get("options") or []}
    texts = [f"{name}:{value}" if value else name for name, value in options.items()]
    lines = [
        f"search {' '.join(search)}",
        *(f"nameserver {server}" for server in servers),
        f"options {' '.join(texts)}",
    ]
    return "\n".join(lines) + "\n"


def hosts(pod: Object, hostname: str, pod_ip: str) -> str:
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", f"{pod_ip}\t{hostname}"]
    for alias in pod["spec"].get("hostAliases") or []:
        lines.append(f"{alias['ip']}\t{' '.join(alias.get('hostnames') or [])}")
    return "\n".join(lines) + "\n"
