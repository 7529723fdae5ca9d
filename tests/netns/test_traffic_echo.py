"""Circuit breaking, mirroring, TCP shifting, locality and stickiness on a running mesh, as Istio's documentation shows them.

Everything is seen from the client: what it got, what its sidecar counted, and what the other side's log says.
Reference: Istio's tasks "Circuit Breaking", "Mirroring", "TCP Traffic Shifting" and "Locality Load Balancing".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.netns.mesh import Mesh, Object

pytestmark = pytest.mark.netns

MANIFESTS = Path(__file__).parents[2] / "demo_apps" / "manifests"
NAMESPACE = "traffic"
RULES = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}"
CLIENT = f"{NAMESPACE}/client"
LOAD = ("python3", "-m", "demo_apps.load")
SHARE = re.compile(r"^(?:Code )?(\S+) : (\d+) \(", re.MULTILINE)
TCP = """
import json, socket
def ask():
    with socket.create_connection(("tcp-echo", 9000), 5) as s:
        s.sendall(b"world\\n")
        return s.recv(64).split()[0].decode()
print(json.dumps([ask() for _ in range(100)]))
"""


def documents(name: str) -> list[Object]:
    """A manifest's objects, in the namespace of this test."""
    found = [each for each in yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()) if each]
    for each in found:
        each["metadata"]["namespace"] = NAMESPACE
    return found


@pytest.fixture(scope="module")
def traffic(mesh: Mesh) -> Iterator[Mesh]:
    namespace = {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}}
    mesh.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
    names = ("echo", "tcp-echo", "tasks/client", "tasks/echo-v2", "tasks/tcp-echo-v2", "tasks/hello")
    for name in names:
        mesh.apply(*documents(name))
    for app, count in {"client": 1, "echo": 2, "tcp-echo": 2, "hello": 4}.items():
        mesh.ready(app, count, NAMESPACE)
    mesh.wait(lambda: shares(mesh, "http://echo:8080/", 4)["200"] == 4, "echo to answer")
    yield mesh
    mesh.delete(f"/api/v1/namespaces/{NAMESPACE}")  # the pods go while other tests start theirs


@pytest.fixture(autouse=True)
def _no_rules_stay(traffic: Mesh) -> Iterator[None]:
    yield
    for kind in ("virtualservices", "destinationrules"):
        for rule in traffic.get(f"{RULES}/{kind}")["items"]:
            traffic.delete(f"{RULES}/{kind}/{rule['metadata']['name']}")


def shares(mesh: Mesh, url: str, count: int, connections: int = 1, *flags: str) -> Counter[str]:
    """Answers by status code, and by version, to the client's requests."""
    told = mesh.exec(
        CLIENT, *LOAD, "-n", str(count), "-c", str(connections), "--field", "service_version", *flags, url
    )
    return Counter({name: int(number) for name, number in SHARE.findall(told)})


def stats(mesh: Mesh, pattern: str) -> dict[str, int]:
    """Of the client's sidecar, by the last part of their names."""
    told = mesh.exec(CLIENT, "curl", "-s", f"127.0.0.1:15000/stats?filter={pattern}")
    found = (line.rpartition(": ") for line in told.splitlines())
    return {name.rpartition(".")[2]: int(value) for name, _, value in found if value.isdecimal()}


def logged(mesh: Mesh, workload: str, container: str, part: str) -> int:
    lines = mesh.glassmesh("logs", f"{NAMESPACE}/{workload}", "-c", container).splitlines()
    return sum(part in line for line in lines)


# Circuit breaking.


def test_the_circuit_breaker_trips(traffic: Mesh) -> None:
    """One connection, one waiting, a new connection per request: one at a time passes, two lose some, three lose most.

    While the connection is replaced the one place to wait is taken, so with two at once about half are refused, as real Envoy
    does here; Envoys with several workers, as in Istio's task, leave more room.
    """
    traffic.apply(*documents("tasks/echo-circuit-breaker"))
    name = r"outbound\|8080\|\|echo.*upstream_rq_pending_overflow"
    traffic.wait(lambda: shares(traffic, "http://echo:8080/delay/0.05", 9, 3)["503"], "the rule to count")
    before = stats(traffic, name)["upstream_rq_pending_overflow"]
    one = shares(traffic, "http://echo:8080/", 20)
    two = shares(traffic, "http://echo:8080/two", 40, 2)
    three = shares(traffic, "http://echo:8080/three", 60, 3)
    assert one["200"] == 20
    assert two["200"] >= 8
    assert two["503"] >= 1
    assert three["200"] >= 2
    assert three["503"] > 20
    assert {code for code in one | two | three if code.isdecimal()} == {"200", "503"}
    assert stats(traffic, name)["upstream_rq_pending_overflow"] == before + two["503"] + three["503"]
    line = '/three HTTP/1.1" 503 UO '
    traffic.wait(lambda: logged(traffic, "client", "istio-proxy", line) == three["503"], "the log", 5)


def test_an_overflow_says_so(traffic: Mesh) -> None:
    """Three at once on a slow path: one under way, at most one waiting, the others refused at once."""
    traffic.apply(*documents("tasks/echo-circuit-breaker"))
    script = (
        "import concurrent.futures as f, json, urllib.request as u, urllib.error as e\n"
        "def ask(_):\n"
        "    try: return u.urlopen('http://echo:8080/delay/0.3').status, '', ''\n"
        "    except e.HTTPError as x: return x.status, x.headers.get('x-envoy-overloaded', ''), x.read().decode()\n"
        "print(json.dumps(list(f.ThreadPoolExecutor(3).map(ask, range(3)))))"
    )

    def refused() -> list[list[object]] | None:
        answers = traffic.python(CLIENT, script)
        return sorted(answers, key=str) if 503 in [status for status, *_ in answers] else None

    answers = traffic.wait(refused, "the rule to count")
    body = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
    assert answers[0] == [200, "", ""]
    assert answers[1] in ([200, "", ""], [503, "true", body])  # refused while the first still connects
    assert answers[2] == [503, "true", body]


# Mirroring.


def test_v1_answers_and_nothing_else_hears(traffic: Mesh) -> None:
    traffic.apply(*documents("tasks/echo-v1"))
    traffic.wait(lambda: set(shares(traffic, "http://echo:8080/", 8)) == {"200", "v1"}, "all to v1")
    shares(traffic, "http://echo:8080/only-v1", 5)
    assert logged(traffic, "echo", "echo", "/only-v1") == 5
    assert logged(traffic, "echo-v2", "echo", "/only-v1") == 0


def test_a_mirror_hears_everything_and_is_not_heard(traffic: Mesh) -> None:
    traffic.apply(*documents("tasks/echo-v1"), *documents("tasks/echo-mirror"))

    def mirrored() -> bool:
        shares(traffic, "http://echo:8080/first", 1)
        return logged(traffic, "echo-v2", "echo", "/first") > 0

    traffic.wait(mirrored, "a first copy")
    assert shares(traffic, "http://echo:8080/mirrored", 10) == {"200": 10, "v1": 10}
    traffic.wait(lambda: logged(traffic, "echo-v2", "echo", "/mirrored") == 10, "all copies")
    assert logged(traffic, "echo", "echo", "/mirrored") == 10


def test_a_mirror_that_is_gone_costs_nothing(traffic: Mesh) -> None:
    """Copies for a subset without pods are dropped, the requests are not."""
    rule, _ = documents("tasks/echo-v1")
    rule["spec"]["subsets"][1]["labels"]["version"] = "v3"
    traffic.apply(rule, *documents("tasks/echo-mirror"))
    traffic.wait(lambda: shares(traffic, "http://echo:8080/", 8)["v1"] == 8, "the rule")
    assert shares(traffic, "http://echo:8080/mirrored-nowhere", 10) == {"200": 10, "v1": 10}
    assert logged(traffic, "echo-v2", "echo", "/mirrored-nowhere") == 0


# TCP.


def test_a_fifth_of_the_connections_go_to_v2(traffic: Mesh) -> None:
    traffic.apply(*documents("tasks/tcp-echo-20"))
    counted = traffic.wait(
        lambda: found if (found := Counter(traffic.python(CLIENT, TCP)))["hello"] > 62 else None, "the rule"
    )
    assert set(counted) == {"hello", "two"}
    assert 4 <= counted["two"] <= 38  # 4 standard deviations


# Locality.


def reached(mesh: Mesh, count: int = 12, *flags: str) -> Counter[str]:
    found = shares(mesh, "http://hello:5000/", count, 1, *flags)
    assert found.pop("200") == count, found
    return found


def test_without_a_rule_every_locality_answers(traffic: Mesh) -> None:
    assert len(reached(traffic, 60)) == 4


def test_shares_by_locality(traffic: Mesh) -> None:
    traffic.apply(*documents("tasks/hello-distribute"))
    traffic.wait(lambda: "region2.zone3" not in reached(traffic, 12), "the rule")
    counted = reached(traffic, 300)
    assert set(counted) == {"region1.zone1", "region1.zone2", "region3.zone4"}
    assert 170 <= counted["region1.zone1"] <= 250  # 210 and 5 standard deviations
    assert 25 <= counted["region1.zone2"] <= 95  # 60
    assert 6 <= counted["region3.zone4"] <= 56  # 30


def test_passthrough_goes_where_the_connection_was_going(traffic: Mesh) -> None:
    """To the Service's address, whose pod the node chooses."""
    address = traffic.get(f"/api/v1/namespaces/{NAMESPACE}/services/hello")["spec"]["clusterIP"]
    spec = {"host": "hello", "trafficPolicy": {"loadBalancer": {"simple": "PASSTHROUGH"}}}
    meta = {"name": "hello", "namespace": NAMESPACE}
    traffic.apply(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": meta,
            "spec": spec,
        }
    )
    line = f':5000" "{address}:5000" outbound|5000||hello.{NAMESPACE}.svc.cluster.local '
    traffic.wait(lambda: reached(traffic) and logged(traffic, "client", "istio-proxy", line), "the rule")
    assert shares(traffic, f"http://hello.{NAMESPACE}:5000/", 20)["200"] == 20
    line = f'"hello.{NAMESPACE}{line}'
    traffic.wait(lambda: logged(traffic, "client", "istio-proxy", line) == 20, "the log", 5)


def test_stickiness_by_header(traffic: Mesh) -> None:
    traffic.apply(*documents("tasks/hello-by-user"))
    traffic.wait(lambda: len(reached(traffic, 12, "-H", "end-user: jason")) == 1, "the rule")
    users = [set(reached(traffic, 6, "-H", f"end-user: user-{number}")) for number in range(8)]
    assert all(len(found) == 1 for found in users)
    assert len(set.union(*users)) > 1
    assert len(reached(traffic, 60)) > 1  # no header: no stickiness


def test_stickiness_by_cookie(traffic: Mesh) -> None:
    traffic.apply(*documents("tasks/hello-by-cookie"))
    script = (
        "import http.cookiejar as c, json, urllib.request as u\n"
        "jar = c.CookieJar(); user = u.build_opener(u.HTTPCookieProcessor(jar))\n"
        "got = [json.load(user.open('http://hello.traffic:5000/'))['hostname'] for _ in range(10)]\n"
        "print(json.dumps([got, [k.name for k in jar]]))"
    )

    def sticky() -> list[str] | None:
        pods, cookies = traffic.python(CLIENT, script)
        return pods if cookies == ["session"] and len(set(pods)) == 1 else None

    first = traffic.wait(sticky, "the cookie")
    assert any(traffic.python(CLIENT, script)[0][0] != first[0] for _ in range(12))  # others are elsewhere


def limit(**spec: object) -> Object:
    """A LocalRateLimit of twelve requests and none to follow soon."""
    bucket = {"maxTokens": 12, "fillInterval": "1h"}
    meta = {"name": "echo", "namespace": NAMESPACE}
    return {
        "apiVersion": "glassmesh.io/v1alpha1",
        "kind": "LocalRateLimit",
        "metadata": meta,
        "spec": {"tokenBucket": bucket, **spec},
    }


@pytest.mark.parametrize("side", ["servers", "client"])
def test_a_local_rate_limit(traffic: Mesh, side: str) -> None:
    """Not one of Istio's tasks: each server's sidecar lets twelve through, or the client's twelve over the route."""
    if side == "client":
        rule = {"name": "all", "route": [{"destination": {"host": "echo"}}]}
        meta = {"name": "echo", "namespace": NAMESPACE}
        kind = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
        traffic.apply({**kind, "metadata": meta, "spec": {"hosts": ["echo"], "http": [rule]}})
        traffic.apply(limit(routes=[{"virtualService": "echo"}]))
    else:
        traffic.apply(limit(selector={"matchLabels": {"app": "echo"}}))
    url = "http://echo:8080/limited"
    traffic.wait(lambda: shares(traffic, url, 20)["429"] == 20, "every token to be taken")
    refused = traffic.exec(CLIENT, "curl", "-si", url)
    assert "local_rate_limited" in refused
    if side == "client":
        found = stats(traffic, "local_rate_limit.*http_local_rate_limit")
        assert found["ok"] == 12
        assert found["enforced"] == found["rate_limited"] == found["enabled"] - 12
    traffic.delete(f"/apis/glassmesh.io/v1alpha1/namespaces/{NAMESPACE}/localratelimits/echo")
    traffic.wait(lambda: shares(traffic, url, 20)["200"] == 20, "the limit to be gone")


def test_failover_goes_outward_locality_by_locality(traffic: Mesh) -> None:
    """Last: each step drains a sidecar for good, as the task does."""
    order = ["region1.zone1", "region1.zone2", "region2.zone3", "region3.zone4"]
    traffic.apply(*documents("tasks/hello-failover"))
    for place in order:
        traffic.wait(lambda place=place: set(settled(traffic)) == {place}, f"all to {place}")
        workload = f"{NAMESPACE}/hello-{place.replace('.', '-')}"
        traffic.exec(workload, "curl", "-s", "-X", "POST", "127.0.0.1:15000/drain_listeners")
    traffic.wait(lambda: shares(traffic, "http://hello:5000/nobody", 8)["503"] == 8, "nobody to answer")
    line = '/nobody HTTP/1.1" 503 UH no_healthy_upstream '
    traffic.wait(lambda: logged(traffic, "client", "istio-proxy", line), "UH in the log", 5)


def settled(mesh: Mesh) -> Counter[str]:
    """Where requests end; a few errors are expected while a host is found to be bad."""
    return Counter(
        {
            name: number
            for name, number in shares(mesh, "http://hello:5000/", 8).items()
            if not name.isdecimal()
        }
    )
