"""`docker compose up`, for real: the page, mutual TLS, a route applied from the host, and what each container may do."""

from __future__ import annotations

import collections
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from cryptography import x509

from demo_apps import http_client
from tests.compose.mesh import ROOT, ComposeMesh

pytestmark = pytest.mark.compose

WORKLOADS = ("productpage-v1", "details-v1", "ratings-v1", "reviews-v1", "reviews-v2", "reviews-v3")
MANIFESTS = ROOT / "demo_apps" / "manifests"


def get(url: str) -> tuple[int, str]:
    """Status and body, whatever the status."""
    answer = http_client.get(url, [], timeout=15)
    return answer.status, answer.body.decode()


def reviews_version(mesh: ComposeMesh) -> str:
    return str(json.loads(get(f"{mesh.gateway}/api/v1/products/0/reviews")[1])["podname"])


def versions(mesh: ComposeMesh, requests: int) -> collections.Counter[str]:
    return collections.Counter(reviews_version(mesh) for _ in range(requests))


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.1)


def apply(mesh: ComposeMesh, *names: str, verb: str = "apply") -> None:
    """As a user does from the host: with kubectl where there is one, else with our own command."""
    kubectl = ["kubectl", "--kubeconfig", str(mesh.kubeconfig), verb]
    own = [sys.executable, "-m", "cli.main", verb, "--kubeconfig", str(mesh.kubeconfig)]
    files = [argument for name in names for argument in ("-f", str(MANIFESTS / name))]
    subprocess.run(
        (kubectl if shutil.which("kubectl") else own) + files, cwd=ROOT, check=True, capture_output=True
    )


def test_the_page_comes_through_the_gateway(mesh: ComposeMesh) -> None:
    status, page = get(f"{mesh.gateway}/productpage")
    assert status == 200
    assert "William Shakespeare" in page
    assert "Reviews served by" in page


def test_requests_are_spread_over_all_replicas(mesh: ComposeMesh) -> None:
    assert set(versions(mesh, 40)) == {"reviews-v1", "reviews-v2", "reviews-v3"}


def test_what_the_gateway_does_not_route_is_not_found(mesh: ComposeMesh) -> None:
    assert get(f"{mesh.gateway}/health")[0] == 404


def test_the_hop_is_mutual_tls(mesh: ComposeMesh) -> None:
    """The server's sidecar names the client it authenticated."""
    get(f"{mesh.gateway}/productpage")
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:15020/stats/prometheus').read().decode())"
    metrics = mesh.run_in("details-v1-proxy", "python3", "-c", script)
    series = [line for line in metrics.splitlines() if line.startswith("istio_requests_total{")]
    secured = [line for line in series if 'connection_security_policy="mutual_tls"' in line]
    assert any(
        'source_principal="spiffe://cluster.local/ns/default/sa/bookinfo-productpage"' in line
        for line in secured
    )
    assert not [line for line in series if 'connection_security_policy="none"' in line]


def test_the_sidecar_presents_its_workloads_certificate(mesh: ComposeMesh) -> None:
    container = mesh.compose("ps", "-q", "details-v1").strip()
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = subprocess.run(
        ["docker", "inspect", "-f", template, container], capture_output=True, text=True, check=True
    ).stdout.strip()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["istio"])
    with socket.create_connection((address, 9080), timeout=5) as sock, context.wrap_socket(sock) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    names = (
        x509.load_der_x509_certificate(der)
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["spiffe://cluster.local/ns/default/sa/bookinfo-details"]


def test_names_are_answered_with_cluster_ips(mesh: ComposeMesh) -> None:
    script = "import socket; print(socket.gethostbyname('reviews'))"
    assert mesh.run_in("productpage-v1-app", "python3", "-c", script).startswith("10.96.")


@pytest.mark.parametrize("workload", WORKLOADS)
def test_who_runs_as_whom_and_may_do_what(mesh: ComposeMesh, workload: str) -> None:
    script = "import os,re; s=open('/proc/self/status').read(); print(os.getuid(), os.getgid(), re.search('CapEff:.(.*)', s)[1])"
    proxy = mesh.run_in(f"{workload}-proxy", "python3", "-c", script).split()
    app = mesh.run_in(f"{workload}-app", "python3", "-c", script).split()
    assert proxy == ["1337", "1337", "0" * 16]
    assert app == ["10001", "10001", "0" * 16]
    assert mesh.compose("ps", "-a", "--format", "{{.ExitCode}}", f"{workload}-init").strip() == "0"


def test_the_rules_are_istios_and_were_met(mesh: ComposeMesh) -> None:
    get(f"{mesh.gateway}/productpage")
    show = ("iptables-save", "-c", "-t", "nat")
    saved = mesh.compose("run", "--rm", "-T", "--no-deps", "productpage-v1-init", *show)
    met = re.search(r"\[(\d+):\d+\] -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001", saved)
    assert met is not None
    assert int(met[1]) > 0


def test_a_sidecar_sees_its_own_token_only(mesh: ComposeMesh) -> None:
    script = "import base64,json; t=open('/var/run/secrets/tokens/istio-token').read().split('.')[1]; print(json.loads(base64.urlsafe_b64decode(t+'=='))['sub'])"
    assert (
        mesh.run_in("details-v1-proxy", "python3", "-c", script).strip()
        == "system:serviceaccount:default:bookinfo-details"
    )
    with pytest.raises(AssertionError):
        mesh.run_in("details-v1-app", "ls", "/var/run/secrets/tokens/istio-token")


def test_a_route_applied_from_the_host_is_followed(mesh: ComposeMesh) -> None:
    apply(mesh, "destination-rule-all.yaml", "virtual-service-reviews-v3.yaml")
    wait_until(lambda: set(versions(mesh, 10)) == {"reviews-v3"})
    apply(mesh, "virtual-service-reviews-90-10.yaml")
    wait_until(lambda: "reviews-v3" not in versions(mesh, 10))
    counted = versions(mesh, 200)
    assert set(counted) == {"reviews-v1", "reviews-v2"}
    assert 2 <= counted["reviews-v2"] <= 45  # 20 expected; outside is less than one run in 100,000
    apply(mesh, "virtual-service-reviews-90-10.yaml", "destination-rule-all.yaml", verb="delete")
    wait_until(lambda: len(versions(mesh, 20)) == 3)


def test_traffic_goes_on_without_a_control_plane(mesh: ComposeMesh) -> None:
    mesh.compose("kill", "control")
    try:
        assert {get(f"{mesh.gateway}/productpage")[0] for _ in range(10)} == {200}
    finally:
        mesh.compose("up", "-d", "--wait", "--wait-timeout", "60", "control")
    apply(mesh, "destination-rule-all.yaml", "virtual-service-reviews-v3.yaml")
    wait_until(lambda: set(versions(mesh, 10)) == {"reviews-v3"}, 20)
    apply(mesh, "virtual-service-reviews-v3.yaml", "destination-rule-all.yaml", verb="delete")


def test_a_restarted_sidecar_comes_back(mesh: ComposeMesh) -> None:
    mesh.compose("restart", "details-v1-proxy")
    wait_until(lambda: "William Shakespeare" in get(f"{mesh.gateway}/api/v1/products/0")[1], 20)
