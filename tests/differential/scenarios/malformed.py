"""Requests no sidecar may let through, and a few that look wrong and are not."""

from __future__ import annotations

from tests.differential.scenario import SNIFFED, Scenario, exchange, get

_BAD: list[tuple[str, bytes]] = [
    ("bad-request-line", b"GET\r\n\r\n"),
    ("bad-no-version", b"GET /\r\nhost: {host}\r\n\r\n"),
    ("bad-version", b"GET / HTTP/7.7\r\nhost: {host}\r\n\r\n"),
    ("bad-version-text", b"GET / HTTQ/1.1\r\nhost: {host}\r\n\r\n"),
    ("bad-method", b"G@T / HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ("unknown-method", b"FROB / HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ("lower-method", b"get / HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ("binary-garbage", b"\x01\x02\x03\x04\x05\x06\r\n\r\n"),
    ("tls-to-plaintext", b"\x16\x03\x01\x00\x05hello\r\n\r\n"),
    ("http10", b"GET / HTTP/1.0\r\nhost: {host}\r\n\r\n"),
    ("http10-no-host", b"GET / HTTP/1.0\r\n\r\n"),
    ("no-host", b"GET / HTTP/1.1\r\n\r\n"),
    ("empty-host", b"GET / HTTP/1.1\r\nhost:\r\n\r\n"),
    ("two-hosts", b"GET / HTTP/1.1\r\nhost: {host}\r\nhost: other\r\n\r\n"),
    ("bad-host", b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n"),
    ("host-userinfo", b"GET / HTTP/1.1\r\nhost: user@{host}\r\n\r\n"),
    ("header-no-colon", get("/", "nocolon")),
    ("header-space-in-name", get("/", "bad name: x")),
    ("header-space-before-colon", get("/", "name : x")),
    ("header-empty-name", get("/", ": x")),
    ("header-nul", get("/", "x-a: a\x00b")),
    ("header-control", get("/", "x-a: a\x01b")),
    ("header-del", get("/", "x-a: a\x7fb")),
    ("header-name-at", get("/", "x@a: b")),
    ("header-name-utf8", get("/", "x-\u00e9: b")),
    ("header-folded", get("/", "x-a: one", " two")),
    ("header-underscore", get("/", "x_a: b")),
    ("header-bare-cr", get("/", "x-a: a\rb")),
    ("bare-lf", b"GET / HTTP/1.1\nhost: {host}\n\n"),
    (
        "length-and-chunked",
        get("/", "content-length: 5", "transfer-encoding: chunked", method="POST", body=b"0\r\n\r\n"),
    ),
    ("two-lengths", get("/", "content-length: 5", "content-length: 6", method="POST", body=b"hello")),
    ("two-same-lengths", get("/", "content-length: 5", "content-length: 5", method="POST", body=b"hello")),
    ("length-list", get("/", "content-length: 5, 5", method="POST", body=b"hello")),
    ("length-negative", get("/", "content-length: -1", method="POST")),
    ("length-text", get("/", "content-length: abc", method="POST")),
    ("length-plus", get("/", "content-length: +5", method="POST", body=b"hello")),
    ("length-huge", get("/", "content-length: 99999999999999999999999", method="POST")),
    ("length-empty", get("/", "content-length:", method="POST")),
    ("encoding-unknown", get("/", "transfer-encoding: banana", method="POST")),
    *[
        (f"encoding-{name}", get("/", f"transfer-encoding:{value}", method="POST", body=b"0\r\n\r\n"))
        for name, value in (
            ("tab-behind", " chunked\t"),
            ("space-behind", " chunked "),
            ("tab-before", "\tchunked"),
        )
    ],
    ("length-tab-behind", get("/", "content-length: 5\t", method="POST", body=b"hello")),
    ("length-space-behind", get("/", "content-length: 5 ", method="POST", body=b"hello")),
    ("encoding-gzip-chunked", get("/", "transfer-encoding: gzip, chunked", method="POST", body=b"0\r\n\r\n")),
    ("encoding-chunked-gzip", get("/", "transfer-encoding: chunked, gzip", method="POST", body=b"0\r\n\r\n")),
    ("encoding-identity", get("/", "transfer-encoding: identity", method="POST")),
    (
        "encoding-twice",
        get(
            "/", "transfer-encoding: chunked", "transfer-encoding: chunked", method="POST", body=b"0\r\n\r\n"
        ),
    ),
    ("encoding-get", get("/", "transfer-encoding: chunked", body=b"0\r\n\r\n")),
    (
        "chunk-bad-size",
        get("/", "transfer-encoding: chunked", method="POST", body=b"xyz\r\nhello\r\n0\r\n\r\n"),
    ),
    (
        "chunk-too-short",
        get("/", "transfer-encoding: chunked", method="POST", body=b"3\r\nhello\r\n0\r\n\r\n"),
    ),
    (
        "chunk-huge-size",
        get("/", "transfer-encoding: chunked", method="POST", body=b"ffffffffffffffffff\r\nhello"),
    ),
    ("headers-101", get("/", *[f"x-h{i}: {i}" for i in range(101)])),
    ("headers-61k", get("/", *[f"x-large-{i}: {'v' * 6200}" for i in range(10)])),
    ("header-61k", get("/", f"x-large: {'v' * 62000}")),
    ("path-61k", get("/" + "p" * 62000)),
    ("path-8k", get("/" + "p" * 8000)),
    ("path-space", b"GET /a b HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ("path-control", b"GET /a\x01b HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ("path-utf8", "GET /\u00e9 HTTP/1.1\r\nhost: {host}\r\n\r\n".encode()),
    ("path-fragment", get("/a#b")),
    ("path-no-slash", get("a/b")),
    ("path-star", get("*")),
    ("options-star", get("*", method="OPTIONS")),
    ("path-absolute", b"GET http://{host}/abs?q=1 HTTP/1.1\r\nhost: other\r\n\r\n"),
    ("path-absolute-no-path", b"GET http://{host} HTTP/1.1\r\nhost: other\r\n\r\n"),
    ("path-absolute-https", b"GET https://{host}/abs HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ("path-absolute-other-scheme", b"GET ftp://{host}/abs HTTP/1.1\r\nhost: {host}\r\n\r\n"),
    ("connect", b"CONNECT {host}:443 HTTP/1.1\r\nhost: {host}:443\r\n\r\n"),
    ("path-dots", get("/a/./b/../c")),
    ("path-dots-above", get("/../../etc/passwd")),
    ("path-encoded-dots", get("/a/%2e%2e/b")),
    ("path-encoded-slash", get("/a%2fb%5cc")),
    ("path-backslash", get("/a\\b\\..\\c")),
    ("path-double-slash", get("//a//b")),
    ("path-bad-escape", get("/a%zzb")),
    ("path-nul-escape", get("/a%00b")),
    ("path-upper-escape", get("/%7euser/%41")),
    ("path-query-dots", get("/a?b=/../c")),
    ("path-trailing-dots", get("/a/b/..")),
    (
        "upgrade-h2c",
        get("/", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"),
    ),
    ("upgrade-unknown", get("/", "connection: upgrade", "upgrade: foo")),
    ("upgrade-no-connection", get("/", "upgrade: websocket")),
]

SCENARIOS: list[Scenario] = [
    exchange(name, data, method=data.split(b" ")[0].decode("latin-1")) for name, data in _BAD
]
SCENARIOS += [
    exchange("sniffed-plain", get(), listener=SNIFFED, at=("client", "server")),
    exchange(
        "sniffed-http10", b"GET / HTTP/1.0\r\nhost: {host}\r\n\r\n", listener=SNIFFED, at=("client", "server")
    ),
    exchange(
        "sniffed-garbage", b"\x01\x02\x03\x04\x05\x06\r\n\r\n", listener=SNIFFED, at=("client", "server")
    ),
    exchange(
        "sniffed-bad-later",
        b"GET / HTTP/1.1\r\nbad header: 1\r\n\r\n",
        listener=SNIFFED,
        at=("client", "server"),
    ),
]
