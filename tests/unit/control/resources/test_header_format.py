"""Command operators in header values: what Envoy takes, and what our sidecar has of it."""

from __future__ import annotations

import pytest

from control.resources.header_format import OPERATORS, SIDECAR_OPERATORS, header_value_problem, not_in_sidecar
from proxy.observability.access_log_format import FormatError, compile_text


def _has(operator: str) -> bool:
    for text in (f"%{operator}%", f"%{operator}(a)%"):
        try:
            compile_text(text, omit_empty=True)
        except FormatError:
            continue
        return True
    return False


def test_the_list_of_what_our_sidecar_has_is_true() -> None:
    assert {operator for operator in OPERATORS if _has(operator)} == SIDECAR_OPERATORS


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", None),
        ("a b", None),
        ("100%%", None),
        ("%%%PROTOCOL%%%", None),
        ("%REQ(x?y):10% %START_TIME(%Y%m)%", None),
        ("%DYNAMIC_METADATA(a:b)%", None),
        ("%PATH(NQ):5%", None),
        ("%UPSTREAM_METADATA(a):5%", "UPSTREAM_METADATA does not allow length to be specified."),
        ("%req(x)%", "Incorrect configuration: %req(x)%. Couldn't find valid command at position 0"),
        ("a%%%REQ(%", "Incorrect configuration: a%%%REQ(%. Couldn't find valid command at position 3"),
        ("a\rb", 'header value "a\\rb" contains a line break or NUL'),
        ("a" * 16385, "header value is too long, max length allowed is 16384"),
    ],
)
def test_values(value: str, problem: str | None) -> None:
    assert header_value_problem(value) == problem


def test_operators_our_sidecar_lacks() -> None:
    assert not_in_sidecar("%PROTOCOL% %%CONNECTION_ID%% %CONNECTION_ID% %CEL(a):3%") == [
        "CONNECTION_ID",
        "CEL",
    ]
    assert not_in_sidecar("%PROTOCOL%%HOSTNAME%%CONNECTION_ID%") == ["CONNECTION_ID"]
