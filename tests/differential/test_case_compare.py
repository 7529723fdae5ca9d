"""The comparison of cases sees what it says it sees: a difference seeded into one side is found, in every dimension that is observed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from bench.peers import envoy
from tests.differential.case.load import parse
from tests.differential.case.observe import Share, Took
from tests.differential.compare import Verdict
from tests.differential.run import compare_cases

Json = dict[str, Any]
SEEDED = """
cases:
- name: seed-nothing
  http: [{directResponse: {status: 200, body: {string: hello}}}]
  requests: [GET /]
- name: seed-status
  http: [{directResponse: {status: 200}}]
  requests: [GET /]
- name: seed-header
  http: [{directResponse: {status: 200}, headers: {response: {add: {x-a: one}}}}]
  requests: [GET /]
- name: seed-body
  http: [{directResponse: {status: 200, body: {string: hello}}}]
  requests: [GET /]
- name: seed-upstream-bytes
  http: [{rewrite: {uri: /new}, route: [{destination: {host: $host}}]}]
  requests: [{method: POST, path: /, body: data}]
- name: seed-upstream-header
  http: [{headers: {request: {add: {x-a: one}}}, route: [{destination: {host: $host}}]}]
  requests: [GET /]
  observe: {log: []}
- name: seed-attempts
  http: [{retries: {attempts: 3, retryOn: 5xx, backoff: 1ms}, route: [{destination: {host: $host}}]}]
  apps: {a: {script: [{status: 500}]}}
  requests: [GET /]
  observe: {client: [status], log: []}
- name: seed-flag
  http: [{route: [{destination: {host: $host}}]}]
  apps: {a: {ready: false}}
  requests: [GET /]
  observe: {client: [status], stats: [], without_stats: ['*']}
- name: seed-stat
  http: [{retries: {attempts: 3, retryOn: 5xx, backoff: 1ms}, route: [{destination: {host: $host}}]}]
  apps: {a: {script: [{status: 500}]}}
  requests: [GET /]
  observe: {client: [], upstream: [], log: []}
- name: seed-timing
  http: [{timeout: 0.2s, route: [{destination: {host: $host}}]}]
  apps: {a: {script: [{fail: never}]}}
  requests: [GET /]
- name: seed-distribution
  http:
  - route:
    - {destination: {host: $host, subset: v1}, weight: 50}
    - {destination: {host: $host, subset: v2}, weight: 50}
  destination: {subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
  apps: {v1: {}, v2: {}}
  requests: [{repeat: 100, at_once: 4}]
  observe: {random: true}
- name: seed-sums
  http: [{directResponse: {status: 200}}]
  requests: [{repeat: 8, at_once: 4}]
  observe: {sums: true}
- name: seed-connections
  about: how many connections the app saw
  destination: {trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}
  requests: [{path: /, repeat: 2}]
  observe: {client: [status], upstream: [line, connections], stats: [upstream_cx_total]}
- name: seed-refused
  requests: [GET /]
  apps: {a: {ready: false}}
  observe: {upstream: [], log: [], without_stats: ['*']}
- name: seed-expectation
  about: both do the same, and not what is expected
  requests: [{path: /, expect: {status: 404, app: b, flags: UH, headers: {x-a: b}}}]
  expect: {upstream: {a: 2}, statuses: {404: 1}, stats: {upstream_rq_total: 7}}
"""


def _direct(key: str, value: Any) -> Callable[[Json], None]:
    def change(route: Json) -> None:
        route["direct_response"][key] = value

    return change


def _header(where: str) -> Callable[[Json], None]:
    def change(route: Json) -> None:
        route[where][0]["header"]["value"] = "two"

    return change


def _action(**values: Any) -> Callable[[Json], None]:
    return lambda route: route["route"].update(values)


def _retries(route: Json) -> None:
    route["route"]["retry_policy"]["num_retries"] = 2


def _weights(route: Json) -> None:
    first, second = route["route"]["weighted_clusters"]["clusters"]
    first["weight"], second["weight"] = 99, 1  # so far off that chance cannot hide it


SPOILT: dict[str, tuple[Callable[[Json], None], str]] = {
    "seed-status": (_direct("status", 201), "client.0.status"),
    "seed-header": (_header("response_headers_to_add"), "client.0.headers"),
    "seed-body": (_direct("body", {"inline_string": "hallo"}), "client.0.body"),
    "seed-upstream-bytes": (
        _action(regex_rewrite={"pattern": {"regex": "/"}, "substitution": "/x"}, prefix_rewrite=""),
        "upstream.a.0.line",
    ),
    "seed-upstream-header": (_header("request_headers_to_add"), "upstream.a.0.headers"),
    "seed-attempts": (_retries, "upstream.a"),
    "seed-flag": (_action(cluster="unheard-of"), "log.client.0.flags"),
    "seed-stat": (_retries, "stats.seed-stat|8000||upstream_rq_retry"),
    "seed-timing": (_action(timeout="0.8s"), "client.0.took"),
    "seed-distribution": (_weights, "upstream.v1"),
    "seed-sums": (_direct("status", 204), "statuses.HTTP/1.1 200 OK"),
    "seed-refused": (_action(cluster="unheard-of"), "client.0.body"),
}


def _spoil(messages: list[Json]) -> None:
    for cluster in messages:
        if "|seed-connections." in cluster.get("name", "") and "typed_extension_protocol_options" in cluster:
            (options,) = cluster["typed_extension_protocol_options"].values()
            options["common_http_protocol_options"]["max_requests_per_connection"] = 5
    for host in (host for message in messages for host in message.get("virtual_hosts", ())):
        change, _ = SPOILT.get(host["name"].partition(".")[0], (lambda route: None, ""))
        change(host["routes"][0])


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    cases, wrong = parse(SEEDED, "seeded")
    assert not wrong
    return {verdict.name: verdict for verdict in compare_cases(cases, "envoy", spoil=_spoil)}


@pytest.mark.envoy
@pytest.mark.skipif(envoy.binary() is None and shutil.which("envoy") is None, reason="no envoy binary")
class TestSeeded:
    @pytest.mark.parametrize("name", SPOILT)
    def test_a_difference_is_found(self, name: str, verdicts: dict[str, Verdict]) -> None:
        assert verdicts[name].word == "different"
        assert SPOILT[name][1] in [difference.where for difference in verdicts[name].differences]

    def test_a_difference_in_connections_is_found(self, verdicts: dict[str, Verdict]) -> None:
        found = [difference.where for difference in verdicts["seed-connections"].differences]
        assert found == ["connections.a", "stats.seed-connections|8000||upstream_cx_total"]

    def test_what_is_the_same_is_the_same(self, verdicts: dict[str, Verdict]) -> None:
        assert verdicts["seed-nothing"].word == "same"

    def test_both_must_do_what_is_expected(self, verdicts: dict[str, Verdict]) -> None:
        found = {difference.where: difference for difference in verdicts["seed-expectation"].differences}
        assert set(found) == {
            "expected request 0: status 404",
            "expected request 0: an answer of app b",
            "expected request 0: flags UH",
            "expected request 0: header x-a: b",
            "expected requests at a: 2 to 2",
            "expected answers 404: 1 to 1",
            "expected stat upstream_rq_total: 7 to 7",
        }
        assert str(found["expected request 0: flags UH"]).endswith("Envoy '-', ours '-'")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (0.0, 0.1, True),
        (0.2, 0.5, False),
        (0.3, 0.5, True),
        (1.0, 1.4, True),
        (1.0, 1.8, False),
        (0, 0.3, False),
    ],
)
def test_times_are_the_same_in_coarse_bands(one: float, other: float, same: bool) -> None:
    assert (Took(one) == Took(other)) is same
    assert (Took(other) != Took(one)) is not same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Share(100, 200), Share(120, 200), True),
        (Share(100, 200), Share(160, 200), False),
        (Share(0, 200), Share(1, 200), True),
        (Share(0, 200), Share(40, 200), False),
        (Share(500, 1000), Share(560, 1000), True),
        (Share(500, 1000), Share(640, 1000), False),
        (Share(2, 200), None, True),
        (Share(50, 200), None, False),
        (Share(0, 0), Share(0, 0), True),
        (Share(0, 0), Share(1, 1), False),
    ],
)
def test_shares_differ_when_chance_does_not_explain_it(one: Share, other: Share | None, same: bool) -> None:
    assert (one == other) is same
