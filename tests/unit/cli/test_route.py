"""`glassmesh route` on manifests: text, JSON, and what it says of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main

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
        (("--from", "productpage", "GET", "http://x/", "-f", "/nowhere.yaml"), "No such file"),
    ],
)
def test_mistakes_are_named(arguments: tuple[str, ...], why: str) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert why in done.output
