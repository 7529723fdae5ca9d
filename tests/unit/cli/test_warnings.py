"""Warnings of the API say which object they are about."""

from __future__ import annotations

from typing import Any

import pytest

from cli.client import _about, _unquoted


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"kind": "DestinationRule", "metadata": {"name": "reviews"}}, "DestinationRule reviews: "),
        ({"kind": "Pod", "metadata": {"generateName": "a-"}}, ""),
        ({"metadata": {"name": "a"}}, ""),
        ({"spec": {"replicas": 1}}, ""),
        (None, ""),
    ],
)
def test_what_a_request_is_about(body: Any, words: str) -> None:
    assert _about(body) == words


def test_a_warning_is_unquoted() -> None:
    assert _unquoted('299 - "[IST0101] \\"a+v9\\" not found"') == '[IST0101] "a+v9" not found'
