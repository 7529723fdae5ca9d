"""The Node object: this machine, as `kubectl get nodes` and `describe pod` show it."""

from __future__ import annotations

import asyncio
import platform
import sys
from importlib.metadata import version

from node import network
from node.api_client import NODES, ApiAway, ApiError, Object
from node.events import now
from node.pod_worker import Machine

HEARTBEAT_SECONDS = 60.0
RETRY_SECONDS = 1.0
MOST_PODS = 110  # the kubelet's default


def describe(machine: Machine, moment: str) -> Object:
    """The Node, ready since `moment`."""
    capacity = {"cpu": str(machine.cpus), "memory": f"{machine.memory // 1024}Ki", "pods": str(MOST_PODS)}
    info = {
        "kernelVersion": platform.release(),
        "osImage": platform.freedesktop_os_release().get("PRETTY_NAME", "Linux"),
        "containerRuntimeVersion": f"glassmesh://{version('glassmesh')}",
        "kubeletVersion": f"v1.32.0+glassmesh-{version('glassmesh')}",
        "operatingSystem": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
        "kubeProxyVersion": "",
    }
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": f"the node runs on Python {sys.version.split()[0]}",
        "lastHeartbeatTime": moment,
        "lastTransitionTime": moment,
    }
    addresses = [
        {"type": "InternalIP", "address": network.GATEWAY},
        {"type": "Hostname", "address": machine.node_name},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": machine.node_name, "labels": {"kubernetes.io/hostname": machine.node_name}},
        "spec": {"podCIDR": str(network.POD_NETWORK)},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [ready],
            "addresses": addresses,
            "nodeInfo": info,
        },
    }


async def keep_node(machine: Machine) -> None:
    """Creates the Node and refreshes it until cancelled."""
    since = now()
    while True:
        try:
            await _write(machine, since)
        except (ApiAway, ApiError):
            await asyncio.sleep(RETRY_SECONDS)
        else:
            await asyncio.sleep(HEARTBEAT_SECONDS)


async def _write(machine: Machine, since: str) -> None:
    node = describe(machine, since)
    try:
        await machine.api.create(NODES, None, node)
    except ApiError as error:
        if error.status != 409:  # it exists
            raise
    status = node["status"]
    status["conditions"][0]["lastHeartbeatTime"] = now()
    await machine.api.patch(NODES, None, machine.node_name, {"status": status}, "status")
