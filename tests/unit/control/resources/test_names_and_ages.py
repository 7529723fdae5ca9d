"""Formats of names, and ages as kubectl prints them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from control.resources import names
from control.resources.age import age, human_duration
from control.resources.metadata import validate_metadata


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (names.dns1123_label, ["a", "a-b", "1a", "a" * 63], ["", "A", "-a", "a-", "a.b", "a" * 64]),
        (names.dns1123_subdomain, ["a", "a.b-c", "1"], ["", "a..b", "A.b", ".a", "a" * 254]),
        (names.dns1035_label, ["a", "a-1"], ["1a", "", "a.b"]),
        (
            names.qualified_name,
            ["a", "A_b.c", "example.com/A"],
            ["", "/a", "x/", "a b", "UP/a", "a/" + "b" * 64],
        ),
        (names.label_value, ["", "A", "a_b.c-1"], ["-", "a b", "a" * 64]),
        (names.port_name, ["http", "http-1"], ["80", "", "-a", "a--b", "a" * 16, "HTTP"]),
    ],
)
def test_formats(check: Any, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if check(text)] == []
    assert [text for text in bad if not check(text)] == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (0, "0s"), (119, "119s"), (120, "2m"), (200, "3m20s"), (600, "10m"), (3600 * 2, "120m"),
        (3600 * 3, "3h"), (3600 * 4 + 300, "4h5m"), (3600 * 10, "10h"), (3600 * 47, "47h"), (86400 * 2 + 3600 * 3, "2d3h"),
        (86400 * 8, "8d"), (86400 * 700, "700d"), (86400 * 730, "2y"), (86400 * 800, "2y70d"), (86400 * 365 * 9, "9y"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_ages() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert age("2026-01-01T00:00:00Z", now) == "60s"
    assert age("2026-01-01T00:00:59.5Z", now) == "0s"
    assert age(None) == age("") == "<unknown>"


@pytest.mark.parametrize(
    ("meta", "fields"),
    [
        ({"name": "a"}, []),
        ({}, ["metadata.name"]),
        ({"name": "A"}, ["metadata.name"]),
        ({"name": "a", "foo": 1}, ["metadata.foo"]),
        ({"name": "a", "labels": {"-": "ok", "ok": "-"}}, ["metadata.labels", "metadata.labels"]),
        ({"name": "a", "labels": {"n": 1}}, ["metadata.labels.n"]),
        ({"name": "a", "annotations": {"a b": ""}}, ["metadata.annotations"]),
        ({"name": "a", "annotations": {"a": "x" * 300_000}}, ["metadata.annotations"]),
        ({"name": "a", "finalizers": ["!"]}, ["metadata.finalizers[0]"]),
        ({"name": "a", "ownerReferences": [{"kind": "x"}]},
         [f"metadata.ownerReferences[0].{name}" for name in ("apiVersion", "name", "uid")]),
    ],
)  # fmt: skip
def test_metadata(meta: Any, fields: list[str]) -> None:
    assert [error.path for error in validate_metadata({"metadata": meta}).errors] == fields


def test_namespaces_are_labels() -> None:
    assert validate_metadata({"kind": "Namespace", "metadata": {"name": "a.b"}}).errors
    assert not validate_metadata({"kind": "Pod", "metadata": {"name": "a.b"}}).errors
