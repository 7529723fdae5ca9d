"""A small HTTP/1.1 client for the control plane and the CA: one connection, one request at a time, kept alive.

Knows nothing of xDS. Answers whole responses (they are configuration, a few MB at most) or raises `HttpError`.
A kept connection that the server closed meanwhile is opened anew once; anything else is the caller's to retry.
Reference: RFC 9112.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proxy.net.stream import Stream, open_stream
from proxy.tls.openssl import TlsError
from proxy.tls.ssl_context import SslContext

MAX_BODY = 256 * 1024 * 1024  # bytes; a full push of a large mesh is tens of MB
_MAX_HEAD = 64 * 1024


class HttpError(Exception):
    """The exchange failed: no connection, a timeout, or not HTTP. The text is one line."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: dict[str, str]  # names lower-cased
    body: bytes


class HttpClient:
    """Talks to one address. `tls()` and `token()` are asked per connection and per request: both rotate on disk."""

    def __init__(
        self,
        host: str,
        port: int,
        tls: Callable[[], SslContext] | None = None,
        token: Callable[[], str | None] | None = None,
        source_address: str | None = None,
    ) -> None:
        self.host, self.port = host, port
        self._tls, self._token = tls, token
        self._source_address = source_address
        self._stream: Stream | None = None

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        within: float,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Response:
        """One exchange in at most `within` seconds, connecting included."""
        try:
            async with asyncio.timeout(within):
                return await self._exchange(self._head(method, path, body, headers) + body)
        except TimeoutError:
            self.close()
            raise HttpError(f"{self}: no answer within {within:g} s") from None
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            self.close()
            raise HttpError(f"{self}: {_reason(error)}") from error
        except asyncio.CancelledError:
            self.close()
            raise

    async def _exchange(self, request: bytes) -> Response:
        kept = self._stream is not None
        try:
            return await self._attempt(request)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if not kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                raise
            self.close()  # the server closed it while idle
            return await self._attempt(request)

    async def _attempt(self, request: bytes) -> Response:
        stream = self._stream
        if stream is None:
            context = self._tls() if self._tls else None
            stream = self._stream = await open_stream(
                self.host, self.port, context, source_address=self._source_address, limit=_MAX_HEAD
            )
        stream.write(request)
        response = _unpacked(await _read_response(stream.reader))
        if response.headers.get("connection", "").lower() == "close":
            self.close()
        return response

    def _head(self, method: str, path: str, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not any(name.lower() == "host" for name, _ in headers):
            lines.append(f"Host: {self.host}:{self.port}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        token = self._token() if self._token else None
        if token:
            lines.append(f"Authorization: Bearer {token}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __repr__(self) -> str:
        return f"{self.host}:{self.port}"


async def _read_response(reader: asyncio.StreamReader) -> Response:
    status, headers = _parse_head(await reader.readuntil(b"\r\n\r\n"))
    if status in (204, 304):
        return Response(status, headers, b"")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Response(status, headers, await _read_chunks(reader))
    if "content-length" in headers:
        return Response(status, headers, await reader.readexactly(_size(headers["content-length"], 10)))
    headers["connection"] = "close"  # no length: the body ends with the connection
    return Response(status, headers, await reader.read(MAX_BODY))


def _unpacked(response: Response) -> Response:
    """The body as it was before gzip, of one member or several."""
    if response.headers.get("content-encoding", "").lower() != "gzip":
        return response
    parts, left, room = [], response.body, MAX_BODY
    try:
        while left:
            member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            parts.append(member.decompress(left, room))
            room -= len(parts[-1])
            if room <= 0:
                raise ValueError("body too large")
            if not member.eof:
                raise ValueError("the compressed body ends too early")
            left = member.unused_data
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from error
    return Response(response.status, response.headers, b"".join(parts))


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if not parts[0].startswith("HTTP/1.") or len(parts) < 2 or not parts[1].isdigit():
        raise ValueError(f"not an HTTP response: {first[:60]!r}")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return int(parts[1]), headers


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while size := _size((await reader.readuntil(b"\r\n")).split(b";")[0].decode("latin-1"), 16):
        total += size
        if total > MAX_BODY:
            raise ValueError("body too large")
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers
    return b"".join(parts)


def _size(text: str, base: int) -> int:
    size = int(text.strip(), base)
    if not 0 <= size <= MAX_BODY:
        raise ValueError("body too large")
    return size


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "connection closed before the response was complete"
    if isinstance(error, TlsError) and error.reason:
        words = error.reason.lower().replace("_", " ")
        return f"{words}: {error.detail}" if error.detail else words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
