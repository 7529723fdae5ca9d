"""Each fact says what is untrue about it, and how it reads."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.demo_facts import Applied, Bytes, Caught, Counter, Fact, Hop, Link, Page, Split, Started
from cli.demo_narration import closing, narrate, title, verdict

PLAIN = Link(
    "127.0.0.6:1", "10.0.0.1:9080", b"GET /details/0 HTTP/1.1\r\nhost: x", 100, marker=True, tls=False
)
WIRE = Link("10.0.0.2:1", "10.0.0.1:9080", b"\x17\x03\x03" + bytes(40), 200, marker=False, tls=True)
HOP = Hop("spiffe://a", "spiffe://b", "AB12", "ab12", "1", "EC secp256r1", 23.5, ("spiffe://a", "spiffe://b"))
SPLIT = Split({"v1": 270, "v2": 30}, {"v1": 0.9, "v2": 0.1})
APPLIED = Applied("kubectl apply", {"v1": 5, "v3": 5}, "v3", 0.04)
STARTED = Started(7, 7, 4.2, 400 << 20)
PAGE = Page("http://x/productpage", 200, 12.0, "reviews-v2-1", "istio-envoy")
CAUGHT = Caught((Counter("productpage-v1", "REDIRECT to 15001", 0, 2),))

TRUE: list[Fact] = [STARTED, PAGE, CAUGHT, Bytes("m", PLAIN, WIRE), HOP, APPLIED, SPLIT]
FALSE: list[tuple[Fact, str]] = [
    (replace(STARTED, ready=6), "only 6 of 7 pods"),
    (replace(STARTED, ready=0, pods=0), "only 0 of 0 pods"),
    (replace(PAGE, status=503), "answered 503"),
    (replace(PAGE, reviews_pod=""), "does not say which reviews pod"),
    (Caught((Counter("p", "REDIRECT to 15001", 2, 2),)), "no packet met REDIRECT to 15001"),
    (Bytes("m", replace(PLAIN, marker=False), WIRE), "not seen in plain on the app's side"),
    (Bytes("m", PLAIN, replace(WIRE, total=0)), "nothing was captured"),
    (Bytes("m", PLAIN, replace(WIRE, marker=True)), "seen in plain on the wire"),
    (Bytes("m", PLAIN, replace(WIRE, tls=False)), "not TLS"),
    (replace(HOP, client=""), "the hop was nobody to spiffe://b"),
    (replace(HOP, held="00"), "not the one the client's sidecar holds"),
    (replace(HOP, hours_left=0.0), "expired"),
    (replace(APPLIED, before={"v1": 10}), "v3 did not answer before"),
    (replace(APPLIED, seen_after=None), "did not follow"),
    (replace(SPLIT, counts={"v1": 150, "v2": 150}), "150 of 300 answers came from v2"),
    (replace(SPLIT, counts={"v1": 269, "v2": 30, "v3": 1}), "1 of 300 answers came from v3"),
]


def console() -> Console:
    return Console(width=120, record=True, file=io.StringIO())


@pytest.mark.parametrize("fact", TRUE, ids=lambda fact: type(fact).__name__)
def test_a_true_fact_is_told_without_complaint(fact: Fact) -> None:
    out = console()
    assert narrate(out, fact)
    assert "✗" not in out.export_text()


@pytest.mark.parametrize(("fact", "why"), FALSE, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_untrue_is_said_and_fails(fact: Fact, why: str) -> None:
    out = console()
    assert not narrate(out, fact)
    assert why in out.export_text()


@given(st.integers(100, 5000), st.floats(0.05, 0.95))
def test_a_split_as_asked_is_true_at_any_size(total: int, share: float) -> None:
    first = round(total * share)
    assert not list(Split({"a": first, "b": total - first}, {"a": share, "b": 1 - share}).wrong())


def test_what_is_told() -> None:
    out = console()
    title(out, "Glassmesh", "more")
    for fact in TRUE:
        narrate(out, fact)
    closing(out, ["kubectl get pods"], "the end")
    verdict(out, True)
    told = out.export_text()
    for words in (
        "7 pods in 4.2 s", "400 MB for all of it", "everything told was true", "→ 200 in 12 ms, reviews by reviews-v2-1",
        "REDIRECT to 15001  0 → 2 connections", "GET /details/0 HTTP/1.1", "17 03 03 00", "spiffe://a", "EC secp256r1",
        "followed 40 ms later", "v1  270 of 300   90.0%", "v2   30 of 300   10.0%", "kubectl get pods", "the end",
    ):  # fmt: skip
        assert words in told


def test_a_route_that_held_from_the_first_request_on_was_followed_at_once() -> None:
    out = console()
    narrate(out, replace(APPLIED, seen_after=0.0))
    assert "kubectl apply  followed at once\n" in out.export_text()
