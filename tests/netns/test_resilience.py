"""What a mesh withstands: bad manifests, malformed requests, dead and unknown destinations, a control plane killed under load.

Everything is seen from outside: what a client in a pod got, what the app was sent, what the sidecar logged.
Reference: Envoy's response flags and local replies; Istio's PeerAuthentication task.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from cli.client import ApiFailure
from tests.netns.mesh import GLASSMESH, Mesh, deployment, processes, service

pytestmark = pytest.mark.netns

ISTIO = "/apis/networking.istio.io/v1/namespaces/guarded"
CLIENT = "guarded/client"
OUTSIDER = "outside/client"
ECHO_PORTS = [
    {"name": "http", "port": 80, "targetPort": 8080},
    {"name": "tcp", "port": 9000, "targetPort": 9000},
]
RAW = """
import json, socket, sys
def ask(host, port, data, patience=5):
    try:
        with socket.create_connection((host, port), patience) as s:
            s.sendall(data)
            got = b""
            while piece := s.recv(65536):
                got += piece
                if got.endswith(b"\\n") and not got.startswith(b"HTTP/"):
                    break
            return got.decode("latin-1")
    except ConnectionResetError as error:
        return type(error).__name__
    except OSError as error:
        return repr(error)
"""
LOAD = """
import http.client, os, threading
def run(keep):
    connection = http.client.HTTPConnection("echo", 80, timeout=10)
    while True:
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            said = f"{answer.status} {answer.getheader('x-rule', '-')}"
        except Exception as error:
            said = repr(error)
            connection.close()
        os.write(1, (said + chr(10)).encode())
        if not keep:
            connection.close()
for keep in (True, True, False):
    threading.Thread(target=run, args=(keep,)).start()
"""


def istio(kind: str, name: str, spec: dict[str, Any], group: str = "networking") -> dict[str, Any]:
    meta = {"name": name, "namespace": "guarded"}
    return {"apiVersion": f"{group}.istio.io/v1", "kind": kind, "metadata": meta, "spec": spec}


def rule(mark: str) -> dict[str, Any]:
    """All requests to echo, answers marked with a header."""
    route = {"destination": {"host": "echo"}, "headers": {"response": {"set": {"x-rule": mark}}}}
    return istio("VirtualService", "echo", {"hosts": ["echo"], "http": [{"route": [route]}]})


def peer_authentication(mode: str) -> dict[str, Any]:
    return istio("PeerAuthentication", "default", {"mtls": {"mode": mode}}, "security")


@pytest.fixture(scope="module")
def guarded(mesh: Mesh) -> Mesh:
    """Namespace `guarded` has sidecars: client, and echo with an HTTP and a TCP port. `outside` has none."""
    for name, labels in (("guarded", {"istio-injection": "enabled"}), ("outside", {})):
        mesh.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            deployment("client", ["sleep", "infinity"], namespace=name),
        )
    echo = deployment("echo", ["python3", "-m", "demo_apps.echo", "8080"], namespace="guarded")
    tcp = {"name": "tcp", "image": "glassmesh/tcp-echo", "args": ["9000", "hello"]}
    echo["spec"]["template"]["spec"]["containers"].append(tcp)
    mesh.apply(
        echo,
        service("echo", 8080, "guarded", ports=ECHO_PORTS),
        service("dead", 1, "guarded", selector={"app": "client"}),
        service("nobody", 8080, "guarded"),
    )
    for app, namespace in (("echo", "guarded"), ("client", "guarded"), ("client", "outside")):
        mesh.ready(app, 1, namespace)
    mesh.wait(lambda: raw(mesh, CLIENT, "echo", get()).startswith("HTTP/1.1 200"), "echo to answer")
    mesh.wait(lambda: raw(mesh, OUTSIDER, "echo.guarded", get()).startswith("HTTP/1.1 200"), "ClusterIPs")
    return mesh


def get(host: str = "echo", path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode()


def raw(mesh: Mesh, client: str, host: str, data: bytes, port: int = 80) -> str:
    """What came back for bytes sent from a pod, or the name of the error."""
    script = f"{RAW}print(json.dumps(ask({host!r}, {port}, {data!r})))"
    return str(mesh.python(client, script))


def through_api(mesh: Mesh, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that knows the mesh by its kubeconfig."""
    line = [*GLASSMESH, command, "--kubeconfig", str(mesh.state / "kubeconfig"), *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)


def logged(mesh: Mesh, workload: str, part: str) -> str:
    """The line of a sidecar's access log with `part`, once it is there."""

    def find() -> str | None:
        lines = mesh.glassmesh("logs", workload, "-c", "istio-proxy").splitlines()
        return next((line for line in reversed(lines) if part in line), None)

    return mesh.wait(find, f"{part} in the log of {workload}", 10)


@contextmanager
def load(mesh: Mesh) -> Iterator[list[str]]:
    """Constant requests from the client through both sidecars; what each of them got."""
    got: list[str] = []
    command = mesh.command("exec", CLIENT, "--", "python3", "-c", LOAD)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = process.stdout
    reader = threading.Thread(target=lambda: got.extend(line.strip() for line in lines))
    reader.start()
    try:
        mesh.wait(lambda: len(got) > 20, "load")
        yield got
    finally:
        process.terminate()
        reader.join()
        process.stdout.close()
        process.wait()


# The control plane dies; configuration changes under load.


def control_plane(mesh: Mesh) -> int:
    """Its process id; 0 while there is none."""
    mine = f"-m control --state {mesh.state}"
    return next((pid for pid, line in processes() if mine in line), 0)


def test_many_changes_under_load_fail_no_request(guarded: Mesh) -> None:
    with load(guarded) as got:
        for number in range(40):
            guarded.apply(rule(str(number)))
            if number % 10 == 9:  # between, changes may overtake the traffic
                guarded.wait(lambda number=number: got[-1] == f"200 {number}", "the change in traffic")
    assert {answer[:4] for answer in got} == {"200 "}


def test_a_control_plane_killed_under_load_loses_nothing(guarded: Mesh) -> None:
    acknowledged: list[str] = []
    with load(guarded) as got:
        killed = control_plane(guarded)

        def kill() -> None:
            guarded.wait(lambda: len(acknowledged) > 3, "changes before the kill")
            os.kill(killed, signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        for number in range(200):
            try:
                guarded.apply(rule(f"k{number}"))
            except (ApiFailure, click.ClickException):
                break  # in flight when it died: not acknowledged
            acknowledged.append(f"k{number}")
            if not killer.is_alive() and number > 8:
                break
        killer.join()
        before = len(got)
        guarded.wait(lambda: control_plane(guarded) not in (0, killed), "the control plane to return")
        stored = guarded.get(f"{ISTIO}/virtualservices/echo")
        mark = stored["spec"]["http"][0]["route"][0]["headers"]["response"]["set"]["x-rule"]
        assert int(mark[1:]) >= int(acknowledged[-1][1:])
        guarded.apply(rule("later"))
        guarded.wait(lambda: got[-1] == "200 later", "a later change in traffic")
        assert len(got) > before
    assert {answer[:4] for answer in got} == {"200 "}


# Bad manifests.

BAD: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        f"{ISTIO}/virtualservices",
        istio(
            "VirtualService",
            "bad",
            {
                "hosts": ["echo"],
                "http": [
                    {
                        "route": [{"destination": {"hosst": "a", "port": {"number": 99999}}, "weight": "x"}],
                        "timeout": "10x",
                    },
                    {"redirect": {"uri": "/"}, "route": [{"destination": {"host": "a"}}]},
                ],
            },
        ),
        [
            "spec.http[0].route[0].destination.host",
            "spec.http[0].route[0].destination.hosst",
            "spec.http[0].route[0].destination.port.number",
            "spec.http[0].route[0].weight",
            "spec.http[0].timeout",
            "spec.http[1].redirect",
        ],
    ),
    (
        f"{ISTIO}/destinationrules",
        istio("DestinationRule", "bad", {"host": 5, "trafficPolicy": {"tls": {"mode": "NOPE"}}}),
        ["spec.host", "spec.trafficPolicy.tls.mode"],
    ),
    (
        f"{ISTIO}/gateways",
        istio("Gateway", "bad", {"servers": [{"port": {"number": 0, "name": "x", "protocol": "HTTP"}}]}),
        ["spec.servers[0].hosts", "spec.servers[0].port.number"],
    ),
    (
        "/apis/security.istio.io/v1/namespaces/guarded/peerauthentications",
        istio("PeerAuthentication", "bad", {"mtls": {"mode": "SOMETIMES"}, "more": 1}, "security"),
        ["spec.more", "spec.mtls.mode"],
    ),
    (
        "/api/v1/namespaces/guarded/services",
        service("bad", 80, "guarded", selector=["a"], ports=[{"port": 0}]),
        ["spec.ports[0].port", "spec.selector"],
    ),
    (
        "/apis/apps/v1/namespaces/guarded/deployments",
        deployment("bad", [], replicas=-1, namespace="guarded", ports=[{"containerPort": "x"}]),
        ["spec.replicas", "spec.template.spec.containers[0].ports[0].containerPort"],
    ),
]


@pytest.mark.parametrize(("path", "manifest", "fields"), BAD, ids=[one[1]["kind"] for one in BAD])
def test_a_bad_manifest_is_refused_whole(
    guarded: Mesh, path: str, manifest: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(ApiFailure) as refused:
        guarded.client.request("POST", path, {"fieldValidation": "Strict"}, manifest)
    told = "\n".join(refused.value.lines())
    assert [field for field in fields if f"* {field}: " not in told] == []
    assert guarded.gone(f"{path}/bad")


def test_good_documents_beside_a_bad_one_are_applied(guarded: Mesh, tmp_path: Path) -> None:
    """As with kubectl: each document stands for itself, the exit status is that of the worst."""
    manifest = tmp_path / "mixed.yaml"
    bad = istio("Gateway", "bad", {"servers": []})
    good = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "g", "namespace": "guarded"}}
    manifest.write_text("\n---\n".join(json.dumps(each) for each in (bad, good)))
    done = through_api(guarded, "apply", "-f", str(manifest))
    assert done.returncode == 1
    assert "mixed.yaml (document 1)" in done.stderr
    assert "spec.servers" in done.stderr
    assert done.stdout == "serviceaccount/g created\n"


# Configuration a proxy refuses.


def test_the_last_good_configuration_serves_while_another_is_refused(guarded: Mesh) -> None:
    """Real Envoy has operators for header values that our sidecar lacks, so the API takes them, with a warning."""
    picky = deployment("picky", ["sleep", "infinity"], namespace="guarded")
    guarded.apply(picky, rule("good"))
    (pod,) = guarded.ready("picky", 1, "guarded")
    name = f"{pod['metadata']['name']}.guarded"

    def status() -> dict[str, Any]:
        found: Any = guarded.client.get("/debug/syncz")
        return next((proxy for proxy in found if proxy["proxy"] == name), {})

    def marked(mark: str) -> bool:
        return f"x-rule: {mark}\r\n" in raw(guarded, "guarded/picky", "echo", get())

    guarded.wait(lambda: marked("good"), "the first rule")
    guarded.apply(rule("%CONNECTION_ID%"))
    guarded.wait(lambda: status().get("route_status") == "ERROR", "the refusal to be told")
    assert marked("good")
    told = through_api(guarded, "proxy-status", "-v")
    (row,) = [line for line in told.stdout.splitlines() if line.startswith(f"{name} ")]
    assert "ERROR" in row
    (why,) = [line for line in told.stderr.splitlines() if line.startswith(f"{name}: ")]
    assert why.endswith(
        'virtual_hosts["echo.guarded.svc.cluster.local:80"].routes[0]: command operator %CONNECTION_ID% is not supported'
    )
    guarded.apply(rule("mended"))
    guarded.wait(lambda: marked("mended"), "the next rule")
    guarded.wait(lambda: status().get("route_status") == "SYNCED", "the proxy to be told in step")
    guarded.delete("/apis/apps/v1/namespaces/guarded/deployments/picky")


# Malformed requests.

LONG = b"x" * 70_000
MALFORMED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "no HTTP": (b"hello there\r\n\r\n", 400),
    "bad header": (b"GET / HTTP/1.1\r\nhost: echo\r\nb a d: 1\r\n\r\n", 400),
    "both lengths": (
        b"POST / HTTP/1.1\r\nhost: echo\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\nhost: echo\r\n\r\n", 426),
    "large headers": (b"GET / HTTP/1.1\r\nhost: echo\r\nlong: " + LONG + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_answered_by_the_sidecar(guarded: Mesh, case: str) -> None:
    data, status = MALFORMED[case]
    before = guarded.glassmesh("logs", "guarded/echo", "-c", "echo")
    answer = raw(guarded, CLIENT, "echo", data)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nconnection: close\r\n" in answer.lower()
    assert guarded.glassmesh("logs", "guarded/echo", "-c", "echo") == before


def at_gateway(mesh: Mesh, data: bytes) -> str:
    """What the gateway answers to bytes from the host."""
    with socket.create_connection(("127.0.0.1", mesh.gateway_port), 5) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("latin-1")


def test_malformed_and_unknown_at_the_gateway(guarded: Mesh) -> None:
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["echo.test"]}
    guarded.apply(
        istio("Gateway", "edge", {"selector": {"istio": "ingressgateway"}, "servers": [server]}),
        istio(
            "VirtualService",
            "edge",
            {
                "hosts": ["echo.test"],
                "gateways": ["edge"],
                "http": [{"route": [{"destination": {"host": "echo"}}]}],
            },
        ),
    )
    guarded.ready("istio-ingressgateway", 1, "istio-system")
    ask = functools.partial(at_gateway, guarded)
    try:
        guarded.wait(lambda: ask(get("echo.test")).startswith("HTTP/1.1 200 "), "the route")
        for case, (data, status) in MALFORMED.items():
            answer = ask(data)
            assert answer.startswith(f"HTTP/1.1 {status} "), case
            assert "\r\nserver: istio-envoy\r\n" in answer, case
        answer = ask(get("elsewhere.test", "/unknown"))
        assert answer.startswith("HTTP/1.1 404 Not Found\r\n")
        assert answer.endswith("\r\n\r\n")
        line = logged(guarded, "istio-system/istio-ingressgateway", "/unknown")
        assert '"GET /unknown HTTP/1.1" 404 NR route_not_found' in line
    finally:
        guarded.delete(f"{ISTIO}/virtualservices/edge")
        guarded.delete(f"{ISTIO}/gateways/edge")


# Destinations that are dead, unknown or empty.


def test_no_endpoints(guarded: Mesh) -> None:
    answer = raw(guarded, CLIENT, "nobody", get("nobody", "/nobody"))
    assert answer.startswith("HTTP/1.1 503 ")
    assert answer.endswith("\r\n\r\nno healthy upstream")
    assert "\r\nserver: envoy\r\n" in answer
    assert '"GET /nobody HTTP/1.1" 503 UH no_healthy_upstream' in logged(guarded, CLIENT, "/nobody")


def test_a_dead_upstream(guarded: Mesh) -> None:
    answer = raw(guarded, CLIENT, "dead", get("dead", "/dead"))
    assert answer.startswith("HTTP/1.1 503 ")
    assert answer.endswith(
        "\r\n\r\nupstream connect error or disconnect/reset before headers. "
        "retried and the latest reset reason: remote connection failure"
    )
    line = logged(guarded, CLIENT, "503 URX,UF")
    assert '"GET /dead HTTP/1.1" 503 URX,UF upstream_reset_before_response_started{remote_connection' in line
    assert " inbound|1|| " in line


def test_an_unknown_cluster(guarded: Mesh) -> None:
    route = {"destination": {"host": "nobody", "subset": "never"}}
    guarded.apply(istio("VirtualService", "nobody", {"hosts": ["nobody"], "http": [{"route": [route]}]}))
    try:
        guarded.wait(
            lambda: "no healthy" not in raw(guarded, CLIENT, "nobody", get("nobody", "/never")), "the route"
        )
        answer = raw(guarded, CLIENT, "nobody", get("nobody", "/never"))
        assert answer.startswith("HTTP/1.1 503 ")
        assert answer.endswith("\r\n\r\n")
        assert '"GET /never HTTP/1.1" 503 NC cluster_not_found' in logged(guarded, CLIENT, "503 NC")
    finally:
        guarded.delete(f"{ISTIO}/virtualservices/nobody")


# PeerAuthentication.

MODES = [
    # mode, HTTP and TCP from a pod without sidecar
    ("STRICT", "ConnectionResetError", "ConnectionResetError"),
    ("PERMISSIVE", "HTTP/1.1 200", "hello x"),
    ("DISABLE", "HTTP/1.1 200", "hello x"),
]


@pytest.mark.parametrize(("mode", "http", "tcp"), MODES)
def test_peer_authentication(guarded: Mesh, mode: str, http: str, tcp: str) -> None:
    guarded.apply(peer_authentication(mode))
    guarded.wait(
        lambda: raw(guarded, OUTSIDER, "echo.guarded", get("echo.guarded")).startswith(http),
        f"{mode} in traffic from outside",
        5,
    )
    assert raw(guarded, OUTSIDER, "echo.guarded", b"x\n", 9000).startswith(tcp)
    assert raw(guarded, CLIENT, "echo", get()).startswith("HTTP/1.1 200")
    assert raw(guarded, CLIENT, "echo", b"x\n", 9000) == "hello x\n"
    mutual = "X-Forwarded-Client-Cert" in raw(guarded, CLIENT, "echo", get()).title()
    assert mutual == (mode != "DISABLE")


def test_plaintext_on_purpose_meets_strict(guarded: Mesh) -> None:
    guarded.apply(
        peer_authentication("STRICT"),
        istio(
            "DestinationRule",
            "echo",
            {"host": "echo", "trafficPolicy": {"tls": {"mode": "DISABLE"}}},
        ),
    )
    try:
        guarded.wait(
            lambda: raw(guarded, CLIENT, "echo", get()).startswith("HTTP/1.1 503"), "plaintext to be refused"
        )
        answer = raw(guarded, CLIENT, "echo", get(path="/plain"))
        assert "upstream connect error or disconnect/reset before headers" in answer
        assert raw(guarded, CLIENT, "echo", b"x\n", 9000) in ("", "ConnectionResetError")
    finally:
        guarded.delete(f"{ISTIO}/destinationrules/echo")
        guarded.apply(peer_authentication("PERMISSIVE"))
