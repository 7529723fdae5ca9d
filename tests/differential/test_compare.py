"""The comparison itself: chance is made equal, everything else is seen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential.__main__ import report
from tests.differential.case.load import load
from tests.differential.compare import ALLOWED, Difference, Verdict, differences, judge, normalised
from tests.differential.known import KNOWN
from tests.differential.scenario import Scenario
from tests.differential.scenarios import SCENARIOS

_SCENARIO = Scenario("x", (), ignore=("x-random",))


def _observation() -> dict[str, Any]:
    return {
        "client": [
            {
                "line": "HTTP/1.1 200 OK",
                "headers": [
                    ["server", "envoy"],
                    ["date", "Sat, 21 Nov 2026 14:00:00 GMT"],
                    ["x-envoy-upstream-service-time", "3"],
                    ["x-random", "4711"],
                    ["set-cookie", "a=1"],
                    ["set-cookie", "b=2"],
                ],
                "body": "ok",
            }
        ],
        "end": "kept",
        "log": {
            "client": [{"service_time": "3", "upstream_host": "127.0.0.1:4001", "flags": "-", "details": "-"}]
        },
        "apps": {"a": [[{"line": "GET / HTTP/1.1"}]]},
    }


def _verdict(change: Any) -> Any:
    ours = _observation()
    change(ours)
    symbols = {4001: "app a", 5001: "app a"}
    return judge("x", normalised(_observation(), _SCENARIO, symbols), normalised(ours, _SCENARIO, symbols))


def _set(path: str, value: Any) -> Any:
    def change(observation: dict[str, Any]) -> None:
        *way, last = path.split(".")
        at: Any = observation
        for key in way:
            at = at[int(key) if isinstance(at, list) else key]
        at[int(last) if isinstance(at, list) else last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("client.0.headers.1", ["date", "Sun, 22 Nov 2026 14:00:00 GMT"]),
        _set("client.0.headers.2", ["x-envoy-upstream-service-time", "250"]),
        _set("client.0.headers.3", ["x-random", "1"]),
        _set("log.client.0.upstream_host", "127.0.0.1:5001"),
        _set("log.client.0.service_time", "9"),
        lambda seen: seen["client"][0]["headers"].insert(0, seen["client"][0]["headers"].pop(1)),
    ],
)
def test_chance_is_no_difference(change: Any) -> None:
    assert _verdict(change).word == "same"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (_set("client.0.line", "HTTP/1.1 503 Service Unavailable"), "client.0.line"),
        (_set("client.0.body", "KO"), "client.0.body"),
        (_set("client.0.headers.0", ["server", "nginx"]), "client.0.headers"),
        (_set("client.0.headers.0", ["Server", "envoy"]), "client.0.headers"),
        (_set("client.0.headers.1", ["date", "now"]), "client.0.headers"),
        (_set("client.0.headers.4", ["set-cookie", "b=2"]), "client.0.headers"),
        (_set("end", "closed"), "end"),
        (_set("log.client.0.flags", "UF"), "log.client.0.flags"),
        (_set("log.client", []), "log.client"),
        (_set("apps.a", [[], []]), "apps.a"),
        (_set("log.client.0.upstream_host", "127.0.0.1:6001"), "log.client.0.upstream_host"),
        (lambda seen: seen["client"][0]["headers"].pop(5), "client.0.headers"),
        (lambda seen: seen["client"][0].pop("body"), "client.0.body"),
    ],
)
def test_everything_else_is(change: Any, where: str) -> None:
    verdict = _verdict(change)
    assert verdict.word == "different"
    assert verdict.differences[0].where == where


def test_repeated_headers_keep_their_order() -> None:
    def swap(observation: dict[str, Any]) -> None:
        headers = observation["client"][0]["headers"]
        headers[4], headers[5] = headers[5], headers[4]

    assert _verdict(swap).word == "different"


def test_an_allowed_difference_is_reported_with_its_reason() -> None:
    verdict = judge("x", {"end": "closed"}, {"end": "reset"})
    assert verdict.word == "allowed"
    assert verdict.reasons[0].startswith("bytes not yet read")
    assert judge("x", {"end": "kept"}, {"end": "reset"}).word == "different"


def test_every_allowed_difference_has_a_reason_and_covers_no_status() -> None:
    for rule in ALLOWED:
        assert len(rule.reason) > 20
        assert not rule.covers(
            Difference("client.0.line", "HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable")
        )


def test_the_report_ends_with_totals_and_fails_on_what_nobody_explained(capsys: Any) -> None:
    same, allowed = Verdict("a", "same"), Verdict("b", "allowed", (), ("a good reason",))
    different = Verdict("c", "different", (Difference("client.0.body", "x", "y"),))
    known = Verdict("header-folded.client", "different", (Difference("client.0.line", "200", "400"),))
    assert report([same, allowed, known], "ours") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "same       a"
    assert lines[2] == "           allowed: a good reason"
    assert lines[3].startswith("allowed    header-folded.client  (known: stricter")
    assert lines[-1] == "3 scenarios: 1 same, 2 allowed, 0 different"
    assert report([same, different], "ours") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "different  c",
        "           client.0.body: Envoy 'x', ours 'y'",
        "2 scenarios: 1 same, 0 allowed, 1 different",
    ]


def test_a_known_difference_that_is_gone_fails_until_its_entry_is() -> None:
    assert report([Verdict("header-folded.client", "same")], "ours") == 1


def test_lists_of_unequal_length_differ_as_a_whole() -> None:
    assert [str(one) for one in differences({"a": [1]}, {"a": [1, 2]})] == ["a: Envoy [1], ours [1, 2]"]


def test_scenario_names_are_unique_and_known_differences_name_one() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    places = [f"{scenario.name}.{at}" for scenario in SCENARIOS for at in scenario.at]
    assert len(names) == len(set(names))
    assert all(scenario.at for scenario in SCENARIOS)
    cases = [case.name for case in load()[0]]
    listed = [name for known in KNOWN for name in known.names]
    assert not {*listed} & {*names, *places} & {*cases}, "an entry stands for one of them"
    assert set(listed) <= {*names, *places, *cases}
    assert len(listed) == len(set(listed))
