"""SPIFFE identities, both ways."""

from __future__ import annotations

import pytest

from proxy.tls import spiffe
from proxy.tls.spiffe import Identity


def test_both_ways() -> None:
    text = "spiffe://cluster.local/ns/default/sa/reviews"
    assert spiffe.parse(text) == Identity("cluster.local", "default", "reviews")
    assert str(spiffe.parse(text)) == text
    assert spiffe.principal(text) == "cluster.local/ns/default/sa/reviews"


def test_at_sign_becomes_a_dot() -> None:
    assert str(Identity("a@b", "n", "s")) == "spiffe://a.b/ns/n/sa/s"


@pytest.mark.parametrize(
    "text",
    ["", "spiffe://", "http://a/ns/b/sa/c", "spiffe://a/ns/b/sa/", "spiffe://a/ns/b", "spiffe://a/x/b/sa/c"],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a workload identity"):
        spiffe.parse(text)
