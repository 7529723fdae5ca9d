"""A small blocking HTTP/1.1 client: what the demo apps call each other with, and what the curl-like client is built on.

Decides how one request is written and its answer framed (RFC 9112). It reads no proxy settings and knows of no mesh: a
name is resolved and a socket connected, and whatever catches the packets is none of its business.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from demo_apps.http_message import Headers, MessageError, head_bytes, header, read_body, read_head, tokens

if TYPE_CHECKING:
    import ssl


@dataclass(slots=True)
class Answer:
    status: int
    reason: str
    version: str
    headers: Headers
    body: bytes
    trailers: Headers

    def header(self, name: str, default: str = "") -> str:
        return header(self.headers, name.lower(), default)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Url:
    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


def parse_url(text: str) -> Url:
    """Splits an http or https URL; `http://` is assumed. Raises ValueError on anything else."""
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http or https URL: {text}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, parts.hostname, port, target)


class Connection:
    """One connection to one server, used for as many requests as both sides keep it open."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        """Connects. `timeout` (s) bounds connecting and every wait for bytes. Raises OSError."""
        self.sock = socket.create_connection((host, port), timeout)
        if tls is not None:
            try:
                self.sock = tls.wrap_socket(self.sock, server_hostname=server_name or host)
            except BaseException:
                self.sock.close()
                raise
        self._reader = self.sock.makefile("rb")
        self.reusable = True

    def close(self) -> None:
        self._reader.close()
        self.sock.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, method: str, target: str, headers: Headers, body: bytes = b"") -> Answer:
        """Sends a request as given, adding Content-Length where there is a body, and reads the answer.

        Raises: OSError, TimeoutError, MessageError (`empty reply` when the server closed without a byte).
        """
        framed = header(headers, "content-length") or "chunked" in tokens(headers, "transfer-encoding")
        if body and not framed:
            headers = [*headers, ("content-length", str(len(body)))]
        self.sock.sendall(head_bytes(f"{method} {target} HTTP/1.1", headers) + body)
        return self._answer(method)

    def _answer(self, method: str) -> Answer:
        while True:
            head = read_head(self._reader)
            if head is None:
                raise MessageError("empty reply")
            version, _, rest = head.start_line.partition(" ")
            code, _, phrase = rest.partition(" ")
            if not code.isdecimal():
                raise MessageError(f"bad status line {head.start_line!r}")
            status = int(code)
            if status >= 200 or status == 101:
                break
        framed = header(head.headers, "content-length") or "chunked" in tokens(
            head.headers, "transfer-encoding"
        )
        if method == "HEAD" or status in (101, 204, 304):
            data, trailers = b"", []
        else:
            body = read_body(self._reader, head.headers, until_close=True)
            data, trailers = body.data, body.trailers
            self.reusable = bool(framed)
        if "close" in tokens(head.headers, "connection") or version == "HTTP/1.0" or status == 101:
            self.reusable = False
        return Answer(status, phrase, version, head.headers, data, trailers)


def get(url: str, headers: Headers, timeout: float) -> Answer:
    """GET on a connection of its own. `timeout` in seconds. Raises OSError or MessageError."""
    parts = parse_url(url)
    with Connection(parts.host, parts.port, timeout=timeout) as connection:
        base = [("host", parts.authority), ("accept", "*/*"), ("connection", "close")]
        return connection.request("GET", parts.target, base + headers)
