"""The capture rules in a real network namespace: what iptables holds, and where connections of each user end up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.namespace import Namespace

pytestmark = pytest.mark.netns

ENDPOINTS = Path(__file__).with_name("endpoints.py")
INJECTED = [
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-m",
    "REDIRECT",
    "-i",
    "*",
    "-x",
    "",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
]
POD, OUTSIDE = "10.9.9.2", "10.9.9.1"
APP, PROXY = 1000, 1337

# As `iptables-save` prints them: by chain, each chain in the order of the reference.
SAVED = """\
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
"""


def iptables(namespace: Namespace, *arguments: str, status: int = 0) -> str:
    command = namespace.enter([sys.executable, "-m", "node.iptables", *arguments])
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def saved(namespace: Namespace, table: str = "nat") -> str:
    lines = namespace.run("iptables-save", "-t", table).splitlines()
    return "".join(f"{line}\n" for line in lines if line.startswith("-A"))


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with Namespace() as made:
        made.ip("link set lo up")
        yield made


def test_rules_are_istio_s_in_order(namespace: Namespace) -> None:
    iptables(namespace, *INJECTED)
    assert saved(namespace) == SAVED


def test_again_changes_nothing(namespace: Namespace) -> None:
    iptables(namespace, *INJECTED)
    assert "already in place" in iptables(namespace, *INJECTED)
    assert saved(namespace) == SAVED


def test_other_rules_are_replaced_only_when_asked(namespace: Namespace) -> None:
    iptables(namespace, *INJECTED, "-o", "3306", "--drop-invalid")
    assert "--reconcile replaces them" in iptables(namespace, *INJECTED, status=1)
    iptables(namespace, *INJECTED, "--reconcile")
    assert saved(namespace) == SAVED
    assert saved(namespace, "mangle") == ""


def test_other_people_s_rules_stay(namespace: Namespace) -> None:
    namespace.run("iptables", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "--dport", "9", "-j", "RETURN")
    iptables(namespace, *INJECTED)
    iptables(namespace, *INJECTED, "--cleanup-only")
    assert saved(namespace) == "-A OUTPUT -p tcp -m tcp --dport 9 -j RETURN\n"


def test_applied_whole_or_not_at_all(namespace: Namespace) -> None:
    refused = iptables(namespace, *INJECTED, "-u", "no-such-user-at-all", status=1)
    assert "iptables-restore" in refused
    assert saved(namespace) == ""


def test_dry_run_prints(namespace: Namespace) -> None:
    assert "-N ISTIO_OUTPUT\n" in iptables(namespace, *INJECTED, "--dry-run")
    assert saved(namespace) == ""


@pytest.fixture(scope="module")
def pod() -> Iterator[tuple[Namespace, Namespace]]:
    """A pod with capture rules and servers on every port of interest, and a neighbour on its link."""
    with Namespace() as inside, Namespace() as outside:
        outside.ip(
            "link set lo up",
            f"link add veth0 type veth peer name eth0 netns {inside.pid}",
            f"addr add {OUTSIDE}/24 dev veth0",
            "link set veth0 up",
        )
        inside.ip(
            "link set lo up",
            f"addr add {POD}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {OUTSIDE}",
        )
        iptables(inside, *INJECTED)
        ports = ["15001", "15006", "15021", "8080"]
        servers = [
            subprocess.Popen(
                where.enter([sys.executable, str(ENDPOINTS), "serve", *ports]),
                stdout=subprocess.PIPE,
                text=True,
            )
            for where in (inside, outside)
        ]
        try:
            for server in servers:
                assert server.stdout is not None
                assert server.stdout.readline() == "serving\n"
            yield inside, outside
        finally:
            for server in servers:
                server.kill()
                server.wait()
                assert server.stdout is not None
                server.stdout.close()


# Who calls what from where: uid, gid, source address, destination; and which port takes it, meaning which destination, from whom.
CALLS = [
    ("an app's call out is captured", APP, APP, "", f"{OUTSIDE}:8080", 15001, f"{OUTSIDE}:8080", POD),
    ("to an address nobody has", APP, APP, "", "240.0.0.7:80", 15001, "240.0.0.7:80", POD),
    ("a call of root too", 0, 0, "", f"{OUTSIDE}:8080", 15001, f"{OUTSIDE}:8080", POD),
    ("the sidecar's uid goes out", PROXY, APP, "", f"{OUTSIDE}:8080", 8080, f"{OUTSIDE}:8080", POD),
    ("the sidecar's gid goes out", APP, PROXY, "", f"{OUTSIDE}:8080", 8080, f"{OUTSIDE}:8080", POD),
    ("the app to itself by loopback", APP, APP, "", "127.0.0.1:8080", 8080, "127.0.0.1:8080", "127.0.0.1"),
    ("the app to itself by its address", APP, APP, "", f"{POD}:8080", 8080, f"{POD}:8080", POD),
    ("the sidecar to its app by loopback", PROXY, PROXY, "", "127.0.0.1:8080", 8080, "127.0.0.1:8080", "127.0.0.1"),
    ("the sidecar to its own pod comes in again", PROXY, PROXY, "", f"{POD}:8080", 15006, f"{POD}:8080", POD),
    ("inbound passthrough", PROXY, PROXY, "127.0.0.6", f"{POD}:8080", 8080, f"{POD}:8080", "127.0.0.6"),
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=[call[0] for call in CALLS])
def test_calls_from_the_pod(pod: tuple[Namespace, Namespace], call: tuple[Any, ...]) -> None:
    _, uid, gid, source, target, port, original, peer = call
    host, _, number = target.rpartition(":")
    told = json.loads(pod[0].python(ENDPOINTS, "connect", str(uid), str(gid), source, host, number))
    assert told == {"port": port, "original": original, "peer": peer}


@pytest.mark.parametrize(("number", "port"), [(8080, 15006), (9999, 15006), (15021, 15021)])
def test_calls_to_the_pod(pod: tuple[Namespace, Namespace], number: int, port: int) -> None:
    told = json.loads(pod[1].python(ENDPOINTS, "connect", "0", "0", "", POD, str(number)))
    assert told == {"port": port, "original": f"{POD}:{number}", "peer": OUTSIDE}


def test_udp_is_never_captured(pod: tuple[Namespace, Namespace]) -> None:
    script = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('10.9.9.1', 53)); s.send(b'x')"
    )
    before = pod[0].run("iptables", "-t", "nat", "-L", "ISTIO_REDIRECT", "-nvx")
    pod[0].run(sys.executable, "-c", script)
    assert pod[0].run("iptables", "-t", "nat", "-L", "ISTIO_REDIRECT", "-nvx") == before
