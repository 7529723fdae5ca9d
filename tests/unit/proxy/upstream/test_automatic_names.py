"""What the host of a request makes of its TLS connection; seen on Envoy 1.40."""

from __future__ import annotations

import pytest

from proxy.upstream.automatic_names import AutomaticNames


@pytest.mark.parametrize(
    ("authority", "server_name", "expected"),
    [
        (b"good.test", "good.test", "good.test"),
        (b"good.test:8443", "good.test", "good.test"),
        (b"GOOD.test", "good.test", "good.test"),
        (b"127.0.0.1", None, "127.0.0.1"),
        (b"127.0.0.1:80", None, "127.0.0.1"),
        (b"[::1]:99", None, "::1"),
        (b"[::1]", None, "::1"),
        (b"odd:port", "odd:port", "odd:port"),
    ],
)
def test_names(authority: bytes, server_name: str | None, expected: str) -> None:
    options = AutomaticNames(sni=True, validate=True).options(authority, None)
    assert (options.server_name, options.expected_name) == (server_name, expected)


def test_only_what_was_asked_for() -> None:
    assert AutomaticNames(sni=True, validate=False).options(b"a", None).expected_name is None
    assert AutomaticNames(sni=False, validate=True).options(b"a", None).server_name is None


def test_requests_that_may_share_a_connection_have_equal_options() -> None:
    names = AutomaticNames(sni=True, validate=True)
    assert names.options(b"a.test:1", None) == names.options(b"A.test", None)
    assert names.options(b"a.test", None) != names.options(b"b.test", None)
    assert names.options(b"a.test", ("h2",)) != names.options(b"a.test", None)


def test_callers_cannot_fill_the_memory() -> None:
    names = AutomaticNames(sni=True, validate=True)
    for number in range(3000):
        names.options(b"h%d" % number, None)
    assert len(names._known) <= 1024
