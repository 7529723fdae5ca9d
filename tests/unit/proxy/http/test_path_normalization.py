"""Path normalization compared with Envoy 1.40: for each path, what it routed by, or the status it answered.

The first table is Istio's default; each other one lists only the paths that its settings change further.
"""

from __future__ import annotations

import pytest

from proxy.http.path_normalization import EscapedSlashes, PathRedirect, PathRefused, normalize

Settings = tuple[bool, bool, EscapedSlashes]

ISTIO: dict[str, str] = {
    "/": "/",
    "/a": "/a",
    "/a/../b": "/b",
    "/../a": "/a",
    "/a/./b": "/a/b",
    "/a/..": "/",
    "/a/.": "/a/",
    "/.": "/",
    "/..": "/",
    "/a//b": "/a//b",
    "//a": "//a",
    "/a///": "/a///",
    "/a//../b": "/a/b",
    "/%2e%2e/a": "/a",
    "/a/%2E%2e/b": "/b",
    "/a/%2e/b": "/a/b",
    "/%41%7e%2D": "/A~-",
    "/%7Ea": "/~a",
    "/a%2fb": "/a%2fb",
    "/a%2Fb": "/a%2Fb",
    "/a%5cb": "/a%5cb",
    "/a%5C..%5cb": "/a%5C..%5cb",
    "/a\\b": "/a/b",
    "/a|b{c}d": "/a%7Cb%7Bc%7Dd",
    '/a"b^c`d': "/a%22b%5Ec%60d",
    "/<a>[b]": "/%3Ca%3E[b]",
    "/a%7cb": "/a%7cb",
    '/a?|{}"^`<>': '/a?|{}"^`<>',
    "/a/..\\b": "/b",
    "/%2f%2fa": "/%2f%2fa",
    "/a%2f..%2fb": "/a%2f..%2fb",
    "/a%2f%2e%2e%2fb": "/a%2f..%2fb",
    "/a%252fb": "/a%252fb",
    "/%zz": "/%zz",
    "/%": "/%",
    "/%4": "/%4",
    "/%00": "400",
    "/a%00b": "400",
    "/a?b/../c": "/a?b/../c",
    "/a/../b?x=%2f": "/b?x=%2f",
    "/a?b//c": "/a?b//c",
    "/a;b/../c": "/c",
    "/...": "/...",
    "/a/...": "/a/...",
    "/.a/..b/": "/.a/..b/",
    "/a/b/../../c": "/c",
    "/a/b/../../../c": "/c",
    "/%c3%a9": "/%c3%a9",
    "/%C3%A9/%aF": "/%C3%A9/%aF",
    "/a%20b": "/a%20b",
    "/a+b": "/a+b",
    "/a%3fb": "/a%3fb",
    "/a%23b": "/a%23b",
    "/[a]": "/[a]",
    "/a%2f/b": "/a%2f/b",
    "/a/%2f/b": "/a/%2f/b",
    "//..//a": "//a",
    "/a/%2e%2e%2fb": "/a/..%2fb",
    "/a%2e": "/a.",
    "/a/.%2e/b": "/b",
    "/a%2F%2Fb//c": "/a%2F%2Fb//c",
}
MERGED: dict[str, str] = {
    "/a//b": "/a/b",
    "//a": "/a",
    "/a///": "/a/",
    "//..//a": "/a",
    "/a%2F%2Fb//c": "/a%2F%2Fb/c",
}
FORWARD: dict[str, str] = {
    "/a//b": "/a/b",
    "//a": "/a",
    "/a///": "/a/",
    "/a%2fb": "/a/b",
    "/a%2Fb": "/a/b",
    "/a%5cb": "/a/b",
    "/a%5C..%5cb": "/b",
    "/%2f%2fa": "/a",
    "/a%2f..%2fb": "/b",
    "/a%2f%2e%2e%2fb": "/b",
    "/a%2f/b": "/a/b",
    "/a/%2f/b": "/a/b",
    "//..//a": "/a",
    "/a/%2e%2e%2fb": "/b",
    "/a%2F%2Fb//c": "/a/b/c",
}
REDIRECT: dict[str, str] = {
    "/a%2fb": "307 /a/b",
    "/a%2Fb": "307 /a/b",
    "/a%5cb": "307 /a/b",
    "/a%5C..%5cb": "307 /b",
    "/%2f%2fa": "307 ///a",
    "/a%2f..%2fb": "307 /b",
    "/a%2f%2e%2e%2fb": "307 /b",
    "/a%2f/b": "307 /a//b",
    "/a/%2f/b": "307 /a///b",
    "/a/%2e%2e%2fb": "307 /b",
    "/a%2F%2Fb//c": "307 /a//b//c",
}
REJECT: dict[str, str] = {
    "/a%2fb": "400",
    "/a%2Fb": "400",
    "/a%5cb": "400",
    "/a%5C..%5cb": "400",
    "/%2f%2fa": "400",
    "/a%2f..%2fb": "400",
    "/a%2f%2e%2e%2fb": "400",
    "/a%2f/b": "400",
    "/a/%2f/b": "400",
    "/a/%2e%2e%2fb": "400",
    "/a%2F%2Fb//c": "400",
}
OFF: dict[str, str] = {
    "/a/../b": "/a/../b",
    "/../a": "/../a",
    "/a/./b": "/a/./b",
    "/a/..": "/a/..",
    "/a/.": "/a/.",
    "/.": "/.",
    "/..": "/..",
    "/a//../b": "/a//../b",
    "/%2e%2e/a": "/%2e%2e/a",
    "/a/%2E%2e/b": "/a/%2E%2e/b",
    "/a/%2e/b": "/a/%2e/b",
    "/%41%7e%2D": "/%41%7e%2D",
    "/%7Ea": "/%7Ea",
    "/a\\b": "/a\\b",
    "/a/..\\b": "/a/..\\b",
    "/a%2f%2e%2e%2fb": "/a%2f%2e%2e%2fb",
    "/%00": "/%00",
    "/a%00b": "/a%00b",
    "/a/../b?x=%2f": "/a/../b?x=%2f",
    "/a;b/../c": "/a;b/../c",
    "/a/b/../../c": "/a/b/../../c",
    "/a/b/../../../c": "/a/b/../../../c",
    "//..//a": "//..//a",
    "/a/%2e%2e%2fb": "/a/%2e%2e%2fb",
    "/a%2e": "/a%2e",
    "/a/.%2e/b": "/a/.%2e/b",
    "/a|b{c}d": "/a|b{c}d",
    '/a"b^c`d': '/a"b^c`d',
    "/<a>[b]": "/<a>[b]",
}
TABLES: list[tuple[Settings, dict[str, str]]] = [
    ((True, False, EscapedSlashes.KEEP_UNCHANGED), ISTIO),
    ((True, True, EscapedSlashes.KEEP_UNCHANGED), ISTIO | MERGED),
    ((True, True, EscapedSlashes.UNESCAPE_AND_FORWARD), ISTIO | FORWARD),
    ((True, False, EscapedSlashes.UNESCAPE_AND_REDIRECT), ISTIO | REDIRECT),
    ((True, False, EscapedSlashes.REJECT_REQUEST), ISTIO | REJECT),
    ((False, False, EscapedSlashes.KEEP_UNCHANGED), ISTIO | OFF),
]


def answer(path: str, settings: Settings) -> str:
    """The path, or status and location."""
    normal, merge, escaped = settings
    try:
        return normalize(path.encode(), normalize_path=normal, merge_slashes=merge, escaped=escaped).decode()
    except PathRefused:
        return "400"
    except PathRedirect as redirect:
        return f"307 {redirect.path.decode()}"


@pytest.mark.parametrize(
    ("settings", "table"), TABLES, ids=["istio", "merged", "forward", "redirect", "reject", "off"]
)
def test_paths_become_what_envoy_makes_of_them(settings: Settings, table: dict[str, str]) -> None:
    assert {path: answer(path, settings) for path in table} == table


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        # Parameters of a dot segment go with it, unless something of it was escaped.
        ("/a/..;x/b", "/b"), ("/a/.;x", "/a/"), ("/x/..;y%2f", "/"), ("/a/b/..;x\\c", "/a/"), ("/a/b/.%2e;x", "/a/b/..;x"),
        ("/a/b\\..;x", "/a/b/..;x"), ("/a/..%3bx", "/a/..%3bx"), ("/..;", "/"), ("/a;b/../c;d", "/c;d"),
        # What is decoded must not make an escape of what was none.
        ("/%%41b", "/%25Ab"), ("/%4%31", "/%2541"), ("/%%30%30", "/%2500"), ("/a/%2%45/b", "/a/%252E/b"), ("/%%%41", "/%%A"),
        ("/%0%20", "/%0%20"), ("/a%2%66/../b", "/b"),
    ],
)  # fmt: skip
def test_tricks_that_hide_segments(path: str, normal: str) -> None:
    settings = {"normalize_path": True, "merge_slashes": False, "escaped": EscapedSlashes.KEEP_UNCHANGED}
    assert normalize(path.encode(), **settings) == normal.encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "merged"), [("//", "//"), ("///?x=//", "//?x=//"), ("/\\", "//"), ("//a//", "/a/")]
)
def test_of_nothing_but_slashes_two_stay(path: str, merged: str) -> None:
    settings = {"normalize_path": True, "merge_slashes": True, "escaped": EscapedSlashes.KEEP_UNCHANGED}
    assert normalize(path.encode(), **settings) == merged.encode()  # type: ignore[arg-type]
