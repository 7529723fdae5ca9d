"""`glassmesh route` on manifests: text, JSON, and what it says of mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli import route
from cli.kubeconfig import Access
from cli.main import main
from control.compile.compiler import compile_proxy
from control.push.connection import Connection
from control.push.debug import config_dump, sync_status
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from control.push.snapshot import snapshot

MANIFESTS = Path(__file__).parents[3] / "demo_apps" / "manifests" / "bookinfo.yaml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["route", "-f", str(MANIFESTS), *arguments])


def test_a_step_a_line() -> None:
    done = run("--from", "deployment/productpage-v1", "get", "http://reviews:9080/reviews/1")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("GET http://reviews:9080/reviews/1  from productpage-v1.default\n")
    for line in (
        "  listener        0.0.0.0_9080   takes connections to any address, port 9080",
        "  virtual host    reviews.default.svc.cluster.local:9080   domain reviews",
        "  route           #0 default",
    ):
        assert line in done.output.splitlines()
    assert "reviews-v3" in done.output
    assert "\x1b" not in done.output  # plain where it is not a terminal


def test_json_holds_the_same() -> None:
    done = run("--from", "productpage", "GET", "reviews:9080/", "-o", "json")
    found = json.loads(done.output)
    assert found["workload"] == "default/productpage-v1"
    assert found["destinations"][0]["cluster"] == "outbound|9080||reviews.default.svc.cluster.local"
    assert len(found["destinations"][0]["endpoints"]) == 3


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--from", "reveiws-v1", "GET", "http://x/"), "did you mean reviews-v1.default"),
        (
            ("--from", "productpage-v1.away", "GET", "http://x/"),
            "no workload in the files is away/productpage-v1",
        ),
        (("--from", "productpage", "GET", "ftp://x/"), "the scheme is http or https, not 'ftp'"),
        (("--from", "productpage", "GET", "http://x/", "-H", "x"), "header 'x' is not NAME: VALUE"),
        (("--from", "productpage", "GET /", "http://x/"), "'GET /' is no HTTP method"),
        (("--from", "productpage", "GET", "http://x/", "-f", "/nowhere.yaml"), "No such file"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], why: str) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert why in done.output


def test_notes_come_last_and_addresses_are_written_as_in_a_url() -> None:
    lines = run("--from", "productpage-v1", "GET", "http://[fd00::1]:9080/").output.splitlines()
    assert lines[0].startswith("GET http://[fd00::1]:9080/  from ")
    assert lines[-1].split(maxsplit=1) == [
        "note",
        "nobody in the mesh knows this host; outboundTrafficPolicy ALLOW_ANY lets it through",
    ]


RULE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
  - {match: [{sourceLabels: {app: other}}], route: [{destination: {host: reviews}}]}
  - {match: [{uri: {prefix: /v1}}], redirect: {uri: /v2}}
  - {route: [{destination: {host: ratings}}]}
"""


class FakeClient:
    """The debug pages and the pod of one connected proxy."""

    def __init__(self, _: Access) -> None:
        objects = read(MANIFESTS.read_text() + "---\n" + RULE)
        context = context_of(objects)
        client = context.by_name["default", "productpage-v1"]
        proxy = Proxy("x", "sidecar", client.ip, client.name, "default", client.labels, "x", False, {})
        connection = Connection(proxy, snapshot(compile_proxy(context, proxy)), 0.0, 0.0)
        services = [{"hostname": one.hostname, "address": one.address or "None"} for one in context.services]
        self._pages: dict[str, Any] = {
            "/debug/syncz": [sync_status(connection)],
            "/debug/config_dump": config_dump(connection),
            "/debug/registryz": services,
            "/debug/configz": [one for one in objects if one["kind"] == "VirtualService"],
            "/api/v1/namespaces/default/pods/productpage-v1": {"metadata": {"labels": dict(client.labels)}},
        }

    def get(self, path: str, _: dict[str, str] | None = None) -> Any:
        return self._pages[path]


def test_a_running_mesh_is_asked_for_what_the_proxy_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "load", lambda _: Access("https://x", "", "", "default"))
    monkeypatch.setattr(route, "Client", FakeClient)
    done = CliRunner().invoke(main, ["route", "--from", "productpage", "GET", "reviews:9080/", "-o", "json"])
    found = json.loads(done.output)
    assert (found["virtual_service"], found["rule"], found["address"]) == (
        "default/reviews",
        "http[2]",
        "10.96.0.3",
    )
    assert [one["why"] for one in found["passed_over"]] == [
        "is for clients with labels app=other",
        "path starts with /v1",
    ]
    missing = CliRunner().invoke(main, ["route", "--from", "productpgae", "GET", "reviews:9080/"])
    assert "no connected proxy is default/productpgae; did you mean productpage-v1.default" in missing.output
