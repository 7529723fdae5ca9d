"""The network of the mesh: one bridge, one veth pair and one namespace per pod, every packet routed.

Decides addresses and the `ip` commands; running them is `Processes`' work. A pod owns a /32 and reaches everything
through the bridge's own address, so traffic between two pods crosses the mesh's routing and its connection tracking:
what was translated on the way there is translated back on the way home, and no bridge filter is needed.
Reference: ip-netns(8), the Kubernetes network model, ARCHITECTURE.md.
"""

from __future__ import annotations

import ipaddress
import os
import signal
from pathlib import Path

from node.processes import Processes

BRIDGE = "mesh0"
POD_NETWORK = ipaddress.IPv4Network("10.244.0.0/16")
GATEWAY = "10.244.0.1"  # the node itself: default route of every pod, address of the control plane
# The bridge's own. Without one it takes that of a port, another one as pods come and go, and pods that remember the one before
# reach nobody until they ask again.
BRIDGE_MAC = "0a:58:0a:f4:00:01"
SERVICES = "10.96.0.0/16"  # ClusterIPs; routed here so that translation and refusal see them
DNS = "10.96.0.10"
RESERVED = 10  # pods start after the first addresses, kept for the node

NETNS = Path("/run/netns")


class Addresses:
    """Hands out pod addresses in turn, so that one just given up is not met again at once."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._next = RESERVED
        self._size = POD_NETWORK.num_addresses - 1

    def __repr__(self) -> str:
        return f"<Addresses {len(self._used)} used>"

    def take(self) -> str:
        """A free address; raises RuntimeError when all are taken."""
        for _ in range(self._size):
            address = str(POD_NETWORK[self._next])
            self._next = self._next + 1 if self._next + 1 < self._size else RESERVED
            if address not in self._used:
                self._used.add(address)
                return address
        raise RuntimeError(f"no free pod address in {POD_NETWORK}")

    def give_back(self, address: str) -> None:
        self._used.discard(address)


def mesh_commands() -> str:
    """The bridge, its addresses, the ClusterIPs' route and loopback, as an `ip -batch`."""
    return f"""link set lo up
link add {BRIDGE} address {BRIDGE_MAC} type bridge
link set {BRIDGE} up
addr add {GATEWAY}/{POD_NETWORK.prefixlen} dev {BRIDGE}
addr add {DNS}/32 dev {BRIDGE}
route add {SERVICES} dev {BRIDGE}
"""


def pod_commands(namespace: str, link: str) -> str:
    """The pod's namespace and its end of the bridge; run in the mesh's own network namespace."""
    return f"""netns add {namespace}
link add {link} type veth peer name eth0 netns {namespace}
link set {link} master {BRIDGE} up
"""


def inside_commands(address: str) -> str:
    """Loopback, address and routes; run inside the pod's namespace."""
    return f"""link set lo up
addr add {address}/32 dev eth0
link set eth0 up
route add {GATEWAY}/32 dev eth0 scope link
route add default via {GATEWAY} src {address}
"""


def link_name(address: str) -> str:
    """The mesh's end of a pod's veth pair; unique because the address is."""
    return "veth" + "".join(f"{int(part):02x}" for part in address.split("."))


def kill_processes(namespace: str) -> None:
    """Ends every process in a pod's network namespace."""
    try:
        wanted = (NETNS / namespace).stat().st_ino
    except FileNotFoundError:
        return  # it was never made
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and (process / "ns/net").stat().st_ino == wanted:
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            pass  # it ended


async def start_mesh_network(processes: Processes) -> None:
    """Raises CommandFailed."""
    await processes.check(["ip", "-batch", "-"], mesh_commands())
    for setting in ("conf/all/send_redirects", f"conf/{BRIDGE}/send_redirects"):
        _set(f"ipv4/{setting}", "0")  # pods share a link but always talk through us
    _set("ipv4/ip_forward", "1")
    # Where the host has br_netfilter loaded (Docker does), a translated packet would be bridged instead of routed.
    for setting in ("iptables", "ip6tables", "arptables"):
        _set(f"bridge/bridge-nf-call-{setting}", "0")


def _set(setting: str, value: str) -> None:
    """Sets a parameter of this network namespace, if this kernel has it."""
    path = Path(f"/proc/sys/net/{setting}")
    if path.exists():
        path.write_text(value)


async def add_pod(processes: Processes, namespace: str, address: str) -> None:
    """Raises CommandFailed; call `remove_pod` then too."""
    await processes.check(["ip", "-batch", "-"], pod_commands(namespace, link_name(address)))
    # Not `ip -n`: it mounts a /sys of its own on the way, which an ordinary user's mesh may not.
    inside = ["nsenter", f"--net={NETNS / namespace}"]
    await processes.check([*inside, "ip", "-batch", "-"], inside_commands(address))


async def remove_pod(processes: Processes, namespace: str, address: str) -> None:
    """The link and the name; the kernel drops the namespace when its last process has ended."""
    await processes.run(["ip", "link", "del", link_name(address)])
    await processes.run(["ip", "netns", "del", namespace])
