"""The steps against a stand-in mesh: what they send, where they look, how they read the answers."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cli import demo_steps
from demo_apps.http_server import Request, Response, Server

REQUEST = (
    b"GET /details/0 HTTP/1.1\r\nhost: details:9080\r\nX-Forwarded-Client-Cert: By=spiffe://edge;URI=spiffe://old,"
    b'By=spiffe://b;Hash=abc;Subject="";URI=spiffe://a\r\nuser-agent: m\r\n\r\n'
)


class FakeMesh:
    """A gateway that answers like Bookinfo's, and pods whose commands answer what they are told to."""

    def __init__(self, versions: Iterator[str]) -> None:
        self.versions = versions
        self.outputs: list[str] = []
        self.commands: list[tuple[str, Sequence[str], bool]] = []
        self.applied: list[str] = []
        self.user_agents: list[str] = []
        self.lock = threading.Lock()
        self.server = Server(self.answer, 0, "127.0.0.1")
        self.gateway = f"http://127.0.0.1:{self.server.port}"

    def answer(self, request: Request) -> Response:
        with self.lock:
            version = next(self.versions)
        self.user_agents.append(request.header("user-agent"))
        if version == "down":
            return Response(b"no healthy upstream", 503)
        pod = f"reviews-{version}-7c9"
        if request.path == demo_steps.PAGE:
            return Response(
                f"Reviews served by <code>{pod}</code>".encode(), headers=[("server", "istio-envoy")]
            )
        return Response(json.dumps({"podname": pod}).encode())

    def run(self, pod: str, command: Sequence[str], *, root: bool = False) -> str:
        self.commands.append((pod, command, root))
        return self.outputs.pop(0)

    def start(self, pod: str, command: Sequence[str]) -> AbstractContextManager[IO[str]]:
        self.commands.append((pod, command, True))
        return contextlib.nullcontext(io.StringIO(self.outputs.pop(0)))

    def apply(self, manifests: Sequence[str]) -> str:
        self.applied += manifests
        self.versions = itertools.cycle(["v1", "v2"])
        return "kubectl apply"


@pytest.fixture
def mesh() -> Iterator[Callable[[Iterator[str]], FakeMesh]]:
    running: list[tuple[FakeMesh, threading.Thread]] = []

    def make(versions: Iterator[str]) -> FakeMesh:
        fake = FakeMesh(versions)
        thread = threading.Thread(target=fake.server.serve)
        thread.start()
        running.append((fake, thread))
        return fake

    yield make
    for fake, thread in running:
        fake.server.close()
        thread.join()


Make = Callable[[Iterator[str]], FakeMesh]


def test_page(mesh: Make) -> None:
    fact = demo_steps.page(mesh(itertools.repeat("v2")))
    assert (fact.status, fact.reviews_pod, fact.server) == (200, "reviews-v2-7c9", "istio-envoy")
    assert fact.milliseconds > 0


def test_a_page_that_fails_is_a_fact_too(mesh: Make) -> None:
    assert list(demo_steps.page(mesh(itertools.repeat("down"))).wrong())


SAVED = """*nat
:ISTIO_REDIRECT - [0:0]
[5:300] -A OUTPUT -j ISTIO_OUTPUT
[{redirect}:60] -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
[{in_redirect}:60] -A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
COMMIT
"""


def test_counters_are_read_from_both_ends(mesh: Make) -> None:
    fake = mesh(itertools.repeat("v1"))
    fake.outputs = [SAVED.format(redirect=a, in_redirect=b) for a, b in ((1, 2), (3, 4), (5, 6), (7, 8))]
    before, after = demo_steps.counters(fake), demo_steps.counters(fake)
    assert (before, after) == ((1, 4), (5, 8))
    assert [(each.pod, each.before, each.after) for each in demo_steps.caught(before, after).counters] == [
        ("productpage-v1", 1, 5),
        ("details-v1", 4, 8),
    ]
    assert all(root for _, _, root in fake.commands)


def test_a_pod_without_rules_is_an_error(mesh: Make) -> None:
    fake = mesh(itertools.repeat("v1"))
    fake.outputs = ["*nat\nCOMMIT\n"]
    with pytest.raises(OSError, match="productpage-v1 has no rule ISTIO_REDIRECT to port 15001"):
        demo_steps.counters(fake)


def test_the_marker_is_sent_once_the_capture_listens(mesh: Make) -> None:
    fake = mesh(itertools.repeat("v1"))
    side = {
        "bytes": 9,
        "marker": True,
        "source": "a:1",
        "destination": "b:2",
        "payload": "6162",
        "tls": False,
    }
    fake.outputs = [
        "ready\n" + json.dumps({"lo": side, "eth0": side | {"marker": False, "tls": True}}) + "\n"
    ]
    fact = demo_steps.captured(fake)
    assert fake.user_agents == [fact.marker]
    assert fact.marker in fake.commands[0][1]
    assert (fact.app.payload, fact.wire.tls, list(fact.wrong())) == (b"ab", True, [])


def test_a_capture_that_does_not_start_is_an_error(mesh: Make) -> None:
    fake = mesh(itertools.repeat("v1"))
    fake.outputs = ["Operation not permitted\n"]
    with pytest.raises(OSError, match="did not start"):
        demo_steps.captured(fake)


def test_forwarded_client_cert_is_the_last_hop() -> None:
    assert demo_steps.forwarded_client_cert(REQUEST) == {
        "By": "spiffe://b", "Hash": "abc", "Subject": "", "URI": "spiffe://a",
    }  # fmt: skip
    assert demo_steps.forwarded_client_cert(b"GET / HTTP/1.1\r\n\r\n") == {}


@pytest.mark.parametrize("grouped", [False, True])
def test_the_hop_is_compared_with_the_certificate_held(mesh: Make, grouped: bool) -> None:
    chain = trustme.CA().issue_cert("x").cert_chain_pems[0].bytes()
    secret = {
        "name": "default",
        "secret": {
            "tls_certificate": {"certificate_chain": {"inline_bytes": base64.b64encode(chain).decode()}}
        },
    }
    fake = mesh(itertools.repeat("v1"))
    fake.outputs = [
        json.dumps(
            {"configs": [{"dynamic_active_secrets": [secret]}] if grouped else [{"name": "ROOTCA"}, secret]}
        )
    ]
    fact = demo_steps.hop(fake, REQUEST)
    der = x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)
    assert (fact.client, fact.server, fact.presented) == ("spiffe://a", "spiffe://b", "abc")
    assert fact.held == hashlib.sha256(der).hexdigest()
    assert fact.hours_left > 0


def test_no_certificate_is_an_error(mesh: Make) -> None:
    fake = mesh(itertools.repeat("v1"))
    fake.outputs = ['{"configs": []}']
    with pytest.raises(OSError, match="shows no certificate"):
        demo_steps.hop(fake, REQUEST)


def test_a_canary_is_followed_from_the_first_answer_of_the_last_streak(mesh: Make) -> None:
    fake = mesh(itertools.cycle(["v1", "v2", "v3"]))
    fact = demo_steps.canary(fake, ["route.yaml"], "v3", 30)
    assert fake.applied == ["route.yaml"]
    assert fact.before == {"v1": 10, "v2": 10, "v3": 10}
    assert list(fact.wrong()) == []


def test_a_route_that_is_not_followed(mesh: Make) -> None:
    fake = mesh(itertools.cycle(["v1", "v3"]))
    assert demo_steps.followed_after(fake, "v3", seconds=0.1) is None


def test_the_split_counts_every_answer_and_failure(mesh: Make) -> None:
    fact = demo_steps.split(mesh(itertools.cycle(["v1", "v1", "v2", "down"])), {"v1": 1.0}, 40)
    assert fact.counts == {"v1": 20, "v2": 10, "status 503": 10}
