"""The steps of the demo: each does one thing to a running mesh and returns what it found.

Decides what to send, where to look and how to read the answer; reaches the mesh only through `Mesh`, so that a test can stand in
for it. Prints nothing. Everything returned was measured: counters read from iptables, bytes from a packet socket, names from the
handshake.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import secrets
import sys
import time
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Protocol
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cli.demo_facts import Applied, Bytes, Caught, Counter, Hop, Link, Page, Split

PAGE = "/productpage"
REVIEWS = "/api/v1/products/0/reviews"
# The hop that is looked at: productpage asks details, which has one version, so it is always these two pods.
CLIENT, SERVER, PORT = "productpage-v1", "details-v1", 9080
CLIENT_ACCOUNT, SERVER_ACCOUNT = "bookinfo-productpage", "bookinfo-details"
CAPTURE_SECONDS = 5
# A route is seen in traffic when this many answers in a row came from no other version; by chance: one in 200,000.
IN_A_ROW = 30
WORKERS = 4


class Mesh(Protocol):
    """A running mesh, as the demo needs it."""

    gateway: str  # http://HOST:PORT

    def run(self, pod: str, command: Sequence[str], *, root: bool = False) -> str:
        """Runs a command in the pod of a workload, as the app's user or as root; its output. Raises OSError."""
        ...

    def start(self, pod: str, command: Sequence[str]) -> AbstractContextManager[IO[str]]:
        """Starts a command in the pod as root and gives its output; ended with the block."""
        ...

    def apply(self, manifests: Sequence[str]) -> str:
        """Applies files of demo_apps/manifests and gives the command that does it. Raises OSError."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def get(gateway: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """GET through the gateway on a connection of its own. Raises OSError, http.client.HTTPException."""
    where = urlsplit(gateway)
    began = time.monotonic()
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=15)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, body, time.monotonic() - began)


def page(mesh: Mesh) -> Page:
    answer = get(mesh.gateway, PAGE)
    served = re.search(rb"served by <code>([^<]+)", answer.body)
    pod = served[1].decode() if served else ""
    return Page(
        mesh.gateway + PAGE, answer.status, answer.seconds * 1000, pod, answer.headers.get("server", "")
    )


# The rules a request from CLIENT to SERVER meets: out of one pod, into the other.
RULES = ((CLIENT, "ISTIO_REDIRECT", "15001"), (SERVER, "ISTIO_IN_REDIRECT", "15006"))


def counters(mesh: Mesh) -> tuple[int, ...]:
    """Packets each rule of RULES has met so far. In the nat table that is one for each connection."""
    found = []
    for pod, chain, port in RULES:
        saved = mesh.run(pod, ["iptables-save", "-c", "-t", "nat"], root=True)
        rule = re.search(rf"^\[(\d+):\d+\] -A {chain} .*--to-ports {port}$", saved, re.MULTILINE)
        if rule is None:
            raise OSError(f"{pod} has no rule {chain} to port {port}")
        found.append(int(rule[1]))
    return tuple(found)


def caught(before: Iterable[int], after: Iterable[int]) -> Caught:
    return Caught(
        tuple(
            Counter(pod, f"REDIRECT to {port}", was, now)
            for (pod, _, port), was, now in zip(RULES, before, after, strict=True)
        )
    )


def captured(mesh: Mesh) -> Bytes:
    """One page, with a marker the apps hand on from request to request, captured in the pod of SERVER."""
    marker = f"marker-{secrets.token_hex(4)}"
    command = [sys.executable, "-m", "cli.demo_capture", str(PORT), marker, str(CAPTURE_SECONDS)]
    with mesh.start(SERVER, command) as output:
        if output.readline().strip() != "ready":
            raise OSError(f"the capture in {SERVER} did not start")
        get(mesh.gateway, PAGE, {"user-agent": marker})
        sides = json.loads(output.readline())
    return Bytes(marker, _link(sides["lo"]), _link(sides["eth0"]))


def _link(side: Mapping[str, object]) -> Link:
    return Link(
        source=str(side["source"]),
        destination=str(side["destination"]),
        payload=bytes.fromhex(str(side["payload"])),
        total=int(str(side["bytes"])),
        marker=side["marker"] is True,
        tls=side["tls"] is True,
    )


def forwarded_client_cert(request: bytes) -> dict[str, str]:
    """The fields of the last element of `x-forwarded-client-cert` (By, Hash, Subject, URI) in a captured request."""
    header = re.search(rb"(?im)^x-forwarded-client-cert: *(.*?)\r?$", request)
    if header is None:
        return {}
    element = header[1].decode().split(",")[-1]
    return {key: value.strip('"') for key, _, value in (pair.partition("=") for pair in element.split(";"))}


def hop(mesh: Mesh, request: bytes, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Hop:
    """Both identities of the captured request's hop, and the client's certificate from its sidecar's admin pages."""
    seen = forwarded_client_cert(request)
    certificate = held_certificate(mesh.run(CLIENT, admin("/config_dump?resource=dynamic_active_secrets")))
    domain = "spiffe://cluster.local/ns/default/sa/"
    return Hop(
        client=seen.get("URI", ""),
        server=seen.get("By", ""),
        presented=seen.get("Hash", ""),
        held=hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        serial=f"{certificate.serial_number:x}",
        key=key_name(certificate),
        hours_left=(certificate.not_valid_after_utc - now()).total_seconds() / 3600,
        expected=(domain + CLIENT_ACCOUNT, domain + SERVER_ACCOUNT),
    )


def key_name(certificate: x509.Certificate) -> str:
    """`EC P-256` for the keys the mesh makes; the curve's or algorithm's name for others."""
    public = certificate.public_key()
    if not isinstance(public, ec.EllipticCurvePublicKey):
        return type(public).__name__
    return "EC P-256" if isinstance(public.curve, ec.SECP256R1) else f"EC {public.curve.name}"


def admin(path: str) -> list[str]:
    """The command that reads a page of the sidecar's admin server, from inside its pod."""
    return [sys.executable, "-m", "demo_apps.curl", "-s", f"http://127.0.0.1:15000{path}"]


def held_certificate(config_dump: str) -> x509.Certificate:
    """The leaf of the secret `default` in a config dump. Raises OSError where there is none."""
    dump = json.loads(config_dump)
    secrets_held = dump.get("configs", []) + [
        s for c in dump.get("configs", []) for s in c.get("dynamic_active_secrets", [])
    ]
    for each in secrets_held:
        if each.get("name") == "default":
            chain = each["secret"]["tls_certificate"]["certificate_chain"]
            pem = (
                base64.b64decode(chain["inline_bytes"])
                if "inline_bytes" in chain
                else chain["inline_string"].encode()
            )
            return x509.load_pem_x509_certificates(pem)[0]
    raise OSError(f"the sidecar of {CLIENT} shows no certificate")


def reviews_version(mesh: Mesh) -> str:
    """The version of reviews that answers one request, `v1`, or the status where none did."""
    answer = get(mesh.gateway, REVIEWS)
    if answer.status != 200:
        return f"status {answer.status}"
    found = re.match(r"reviews-(v\d+)", json.loads(answer.body)["podname"])
    return found[1] if found else "unknown"


def count(mesh: Mesh, requests: int) -> Mapping[str, int]:
    """Answers by version over `requests` requests."""
    with ThreadPoolExecutor(WORKERS) as workers:
        return Counts(workers.map(lambda _: reviews_version(mesh), range(requests)))


def canary(mesh: Mesh, manifests: Sequence[str], removed: str, requests: int) -> Applied:
    """Applies a route and watches when traffic follows it; `removed` is a version it no longer names."""
    before = count(mesh, requests)
    command = mesh.apply(manifests)
    return Applied(command, before, removed, followed_after(mesh, removed))


def followed_after(mesh: Mesh, removed: str, seconds: float = 10.0) -> float | None:
    """Seconds from now until `removed` answers no more, or None when it still does at the end."""
    began = streak_began = time.monotonic()
    streak = 0
    while time.monotonic() < began + seconds:
        asked = time.monotonic()
        if reviews_version(mesh) == removed:
            streak = 0
            continue
        streak_began = asked if streak == 0 else streak_began
        streak += 1
        if streak == IN_A_ROW:
            return streak_began - began
    return None


def split(mesh: Mesh, expected: Mapping[str, float], requests: int) -> Split:
    return Split(count(mesh, requests), expected)
