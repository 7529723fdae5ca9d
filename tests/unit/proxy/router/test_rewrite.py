"""Rewrites and redirects. Locations are what Envoy 1.40 answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.config.decode import ROUTE, decode
from proxy.config.route import Route
from proxy.router.rewrite import path_rewrite, redirect_location


def build(match: dict[str, Any], **action: Any) -> Route:
    hosts = [{"name": "h", "domains": ["*"], "routes": [{"match": match, **action}]}]
    config = decode(ROUTE, "80", json.dumps({"name": "80", "virtual_hosts": hosts}).encode())
    found: Route = config.virtual_hosts[0].routes[0]
    return found


def rewritten(match: dict[str, Any], path: bytes, **rewrite: Any) -> bytes:
    route = build(match, route={"cluster": "c", **rewrite})
    assert route.route is not None
    change = path_rewrite(route.match, route.route.prefix_rewrite, route.route.regex_rewrite)
    assert change is not None
    return change(path)


@pytest.mark.parametrize(
    ("match", "replacement", "path", "wanted"),
    [
        ({"prefix": "/foo"}, "/", b"/foo/bar?q", b"//bar?q"),
        ({"prefix": "/foo/"}, "/", b"/foo/bar", b"/bar"),
        ({"prefix": "/FOO", "case_sensitive": False}, "/x", b"/foo/bar", b"/x/bar"),
        ({"path": "/foo"}, "/bar", b"/foo?a=/foo", b"/bar?a=/foo"),
        ({"path_separated_prefix": "/foo"}, "/bar", b"/foo/x", b"/bar/x"),
        ({"safe_regex": {"regex": "/f.*"}}, "/bar", b"/foo/x?y", b"/bar?y"),
    ],
)
def test_prefix_rewrite(match: dict[str, Any], replacement: str, path: bytes, wanted: bytes) -> None:
    assert rewritten(match, path, prefix_rewrite=replacement) == wanted


def regex(pattern: str, substitution: str) -> dict[str, Any]:
    return {"pattern": {"regex": pattern}, "substitution": substitution}


@pytest.mark.parametrize(
    ("pattern", "substitution", "path", "wanted"),
    [
        ("(x)(y)", r"<\2\1\0>", b"/xyxy?xy", b"/<yxxy><yxxy>?xy"),
        ("s", r"\\n", b"/bs", rb"/b\n"),
        ("(a)|(b)", r"[\1\2]", b"/ab", b"/[a][b]"),
        ("^/service/([^/]+)(/.*)$", r"\2/instance/\1", b"/service/foo/v1/api", b"/v1/api/instance/foo"),
        ("q", "r", b"/a?q", b"/a?q"),
        (".*", "/fixed", b"/a/b?c=d", b"/fixed?c=d"),
        ("a*", "b", b"/aac", b"b/bcb"),
    ],
)
def test_regex_rewrite(pattern: str, substitution: str, path: bytes, wanted: bytes) -> None:
    assert rewritten({"prefix": "/"}, path, regex_rewrite=regex(pattern, substitution)) == wanted


@pytest.mark.parametrize(
    ("substitution", "wanted"),
    [(r"\2", b"/xabca"), (r"\n", b"/xbc"), ("x\\", b"/xxbcx"), (r"\\2", rb"/x\2bc\2"), (r"\n\2", b"/xabca")],
)
def test_what_envoy_makes_of_a_substitution_it_should_refuse(substitution: str, wanted: bytes) -> None:
    assert rewritten({"prefix": "/"}, b"/xabca", regex_rewrite=regex("(a)", substitution)) == wanted


@pytest.mark.parametrize(
    ("redirect", "path", "wanted"),
    [
        ({"regex_rewrite": regex("(x)(y)", r"<\2\1\0>")}, "/pr/xyxy?xy", "http://p/pr/<yxxy><yxxy>?xy"),
        ({"prefix_rewrite": "/new"}, "/pr/a?b", "http://p/new/a?b"),
        ({"prefix_rewrite": "/new"}, "/prz", "http://p/newz"),
        ({"path_redirect": "/np"}, "/pr?a", "http://p/np?a"),
        ({"path_redirect": "np"}, "/pr?a", "http://p/np?a"),
        ({"path_redirect": "/np", "strip_query": True}, "/pr?a", "http://p/np"),
        ({"path_redirect": "/np?z", "strip_query": True}, "/pr?a", "http://p/np?z"),
        ({"https_redirect": True}, "/pr?a", "https://p/pr?a"),
        ({"scheme_redirect": "ftp"}, "/pr", "ftp://p/pr"),
        ({"port_redirect": 81}, "/pr", "http://p:81/pr"),
        ({"host_redirect": "H2"}, "/pr?q", "http://H2/pr?q"),
        ({"host_redirect": "H2", "port_redirect": 81, "strip_query": True}, "/pr?q", "http://H2:81/pr"),
    ],
)  # fmt: skip
def test_redirect(redirect: dict[str, Any], path: str, wanted: str) -> None:
    route = build({"prefix": "/pr"}, redirect=redirect)
    assert route.redirect is not None
    assert redirect_location(route.match, route.redirect)(b"http", b"p", path.encode()) == wanted.encode()


@pytest.mark.parametrize(
    ("redirect", "authority", "wanted"),
    [
        ({"https_redirect": True}, b"p:80", b"https://p/pr"),
        ({"https_redirect": True}, b"p:8080", b"https://p:8080/pr"),
        ({"https_redirect": True}, b"[::1]:80", b"https://[::1]/pr"),
        ({"https_redirect": True}, b"[::1]", b"https://[::1]/pr"),
        ({"port_redirect": 81}, b"p:8080", b"http://p:81/pr"),
        ({"path_redirect": "/pr"}, b"p:80", b"http://p:80/pr"),
    ],
)
def test_the_port_goes_when_it_was_the_default_left_behind(
    redirect: dict[str, Any], authority: bytes, wanted: bytes
) -> None:
    route = build({"prefix": "/pr"}, redirect=redirect)
    assert route.redirect is not None
    assert redirect_location(route.match, route.redirect)(b"http", authority, b"/pr") == wanted
