"""Case files: tables, variables, defaults; a mistake names file, case and key."""

from __future__ import annotations

from typing import Any

import pytest

from tests.differential.case.load import parse
from tests.differential.case.model import Case, Change, ReadStats, Together, Wait


def _cases(text: str) -> list[Case]:
    cases, wrong = parse(text, "f.yaml")
    assert wrong == []
    return cases


def test_a_table_makes_a_case_of_each_row() -> None:
    first, second = _cases(
        """
cases:
- name: t
  table: [{as: a, code: 301, paths: [/x, {path: /y, headers: {h: v}}]}, {code: 302, paths: [GET /z]}]
  http: [{match: [{uri: {regex: '^/$$code$'}}], redirect: {uri: '/$code', redirectCode: $code, authority: $fqdn}}]
  requests: [{each: $paths, expect: {status: $code}}]
""".replace("[GET /z]", "[/z]")
    )
    assert [first.name, second.name] == ["t-a", "t-2"]
    assert first.http == [
        {
            "match": [{"uri": {"regex": "^/$code$"}}],
            "redirect": {"uri": "/301", "redirectCode": 301, "authority": "t-a.default.svc.cluster.local"},
        }
    ]
    found: list[Any] = first.requests
    assert [(one.path, one.headers, one.expect.status) for one in found] == [
        ("/x", {}, 301),
        ("/y", {"h": "v"}, 301),
    ]


def test_defaults_are_laid_under() -> None:
    (case,) = _cases(
        """
defaults: {apps: {a: {}, b: {labels: {x: y}}}, observe: {random: true}}
cases: [{name: c, apps: {b: {replicas: 2}}, requests: [GET /]}]
"""
    )
    assert case.observe.random
    assert case.apps["b"].labels == {"x": "y"}
    assert case.apps["b"].replicas == 2


def test_places_and_own_ports() -> None:
    cases = _cases(
        "cases: [{name: c, at: [client, pair], port: own, requests: [GET '/$port']}]".replace("'", "")
    )
    assert [(case.name, case.at) for case in cases] == [("c-client", "client"), ("c-pair", "pair")]
    assert cases[0].ports == [{"name": "http", "port": cases[0].ports[0]["port"]}]
    assert cases[0].requests[0].path == f"/{cases[0].ports[0]['port']}"  # type: ignore[union-attr]


def test_steps() -> None:
    (case,) = _cases(
        """
cases:
- name: c
  requests:
  - GET /
  - wait: 20ms
  - {together: [GET /a, {path: /b}], stagger: 0.1s}
  - {apps: {a: {ready: false}}}
  - {stats: ['*']}
"""
    )
    assert [type(step) for step in case.requests[1:]] == [Wait, Together, Change, ReadStats]
    assert case.live


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("cases: [{name: c, requests: [{metod: GET}]}]", "f.yaml: c: requests.0.metod: no such key"),
        ("cases: [{name: c, requests: [GET]}]", "f.yaml: c: requests.0: 'GET' is not METHOD /path"),
        ("cases: [{name: c, reqests: [GET /]}]", "f.yaml: c: requests: Field required; reqests: no such key"),
        (
            "cases: [{name: c, requests: [{wait: soon}]}]",
            "f.yaml: c: requests.0.wait: a duration is a number",
        ),
        (
            "cases: [{name: c, requests: [GET /], apps: {a: {script: [{fail: explode}]}}}]",
            "f.yaml: c: apps.a.script.0.fail: Input should be 'reset', ",
        ),
        (
            "cases: [{name: c, requests: [GET /], observe: {client: [colour]}}]",
            "f.yaml: c: observe.client: colour: not one of status, ",
        ),
        ("cases: [{name: C_1, requests: [GET /]}]", "f.yaml: C_1: name: 'C_1' is no DNS label"),
        ("cases: [{name: c, table: {a: b}, requests: [GET /]}]", "f.yaml: c: table: a list of mappings"),
        ("cases: [{requests: [GET /]}]", "f.yaml: a case without name"),
        ("cases: [{name: c, name: d}]", "f.yaml: line 1: name is given twice"),
        ("cases: [{name: c, at: here, requests: [GET /]}]", "f.yaml: c: at: Input should be 'client', "),
        ("cases: {}", "f.yaml: a mapping with a list `cases` is wanted"),
        ("cases: []\nmore: 1", "f.yaml: more: no such key"),
        ("cases: [", "f.yaml: while parsing"),
    ],
)
def test_a_mistake_names_file_case_and_key(text: str, error: str) -> None:
    _, wrong = parse(text, "f.yaml")
    assert wrong
    assert wrong[0].startswith(error)


def test_a_mistake_in_one_case_leaves_the_others() -> None:
    cases, wrong = parse(
        "cases: [{name: a, requests: [GET /]}, {name: b, x: y, requests: [GET /]}]", "f.yaml"
    )
    assert [case.name for case in cases] == ["a"]
    assert wrong == ["f.yaml: b: x: no such key"]
