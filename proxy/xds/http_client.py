"""A small HTTP/1.1 client for the control plane and the CA: one connection, one request at a time, kept alive.

Knows nothing of xDS. Answers whole responses (they are configuration, a few MB at most) or raises `HttpError`.
A kept connection that the server closed meanwhile, or said something on that nobody asked for, is opened anew once; anything
else is the caller's to retry. Whoever answers may be wrong or mean: of nothing more is held than MAX_BODY.
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
_HEAD_END = b"\r\n\r\n"
_PORTION = 64 * 1024
_DIGITS = {10: frozenset("0123456789"), 16: frozenset("0123456789abcdefABCDEF")}


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
        most: int | None = None,
    ) -> Response:
        """One exchange in at most `within` seconds, connecting included. With `most` the body is cut there, packed or not; else too much is an error."""
        try:
            async with asyncio.timeout(within):
                return await self._exchange(self._head(method, path, body, headers) + body, most)
        except TimeoutError:
            self.close()
            raise HttpError(f"{self}: no answer within {within:g} s") from None
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError) as error:
            self.close()
            raise HttpError(f"{self}: {_reason(error)}") from error
        except BaseException:  # cancelled, as a rule: what is left of the answer is not the next one's
            self.close()
            raise

    async def _exchange(self, request: bytes, most: int | None) -> Response:
        stream, head = await self._ask(request)
        status, headers = _parse_head(head)
        while status < 200:  # informational
            status, headers = _parse_head(await stream.reader.readuntil(_HEAD_END))
        body, whole = await _read_body(status, headers, stream.reader, most)
        response = Response(status, headers, body)
        if not whole or not _kept_open(headers):
            self.close()
        return _unpacked(response, most) if whole else response

    async def _ask(self, request: bytes) -> tuple[Stream, bytes]:
        """Where the request went, and the head of the answer."""
        kept = self._stream
        if kept is not None and kept.at_rest:
            kept.write(request)
            try:
                return kept, await kept.reader.readuntil(_HEAD_END)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                    raise
        self.close()  # the server closed it while idle
        context = self._tls() if self._tls else None
        stream = self._stream = await open_stream(
            self.host, self.port, context, source_address=self._source_address, limit=_MAX_HEAD
        )
        stream.write(request)
        return stream, await stream.reader.readuntil(_HEAD_END)

    def _head(self, method: str, path: str, body: bytes, headers: Sequence[tuple[str, str]]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not any(name.lower() == "host" for name, _ in headers):
            lines.append(f"Host: {self}")
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        token = self._token() if self._token else None
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a line break in the head of the request")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def close(self) -> None:
        """Drop the connection; the next request opens another."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __repr__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _kept_open(headers: dict[str, str]) -> bool:
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    return "close" not in options


async def _read_body(
    status: int, headers: dict[str, str], reader: asyncio.StreamReader, most: int | None
) -> tuple[bytes, bool]:
    """And whether it is whole."""
    if status in (204, 304):
        return b"", True
    body = _Body(reader, most)
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            await body.read_chunks()
        elif "content-length" in headers:
            await body.read(_size(headers["content-length"], 10))
        else:
            headers["connection"] = "close"  # no length: the body ends with the connection
            await body.read_to_end()
    except _Enough:
        return bytes(body.content), False
    return bytes(body.content), True


class _Enough(Exception):
    """No more is wanted."""


class _Body:
    """What has come of a body. Each way to read raises ValueError where it is too large, or _Enough behind `most` bytes."""

    def __init__(self, reader: asyncio.StreamReader, most: int | None) -> None:
        self.content = bytearray()  # not a list: chunks may be of two bytes each
        self._reader, self._most = reader, most

    async def read(self, size: int) -> None:
        if self._most is None and size > MAX_BODY - len(self.content):
            raise ValueError("body too large")
        while size:
            portion = await self._reader.read(min(size, _PORTION))
            if not portion:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(portion)
            self._add(portion)

    async def read_chunks(self) -> None:
        reader = self._reader
        while size := _size((await reader.readuntil(b"\r\n")).split(b";")[0].decode("latin-1"), 16):
            await self.read(size)
            if await reader.readexactly(2) != b"\r\n":
                raise ValueError("a chunk is longer than it says")
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailers

    async def read_to_end(self) -> None:
        while portion := await self._reader.read(_PORTION):
            self._add(portion)

    def _add(self, portion: bytes) -> None:
        self.content += portion
        if self._most is not None and len(self.content) > self._most:
            del self.content[self._most :]
            raise _Enough
        if len(self.content) > MAX_BODY:
            raise ValueError("body too large")


def _unpacked(response: Response, most: int | None) -> Response:
    """The body as it was before gzip, of one member or several; cut where `most` are wanted."""
    if response.headers.get("content-encoding", "").lower() != "gzip":
        return response
    unpacked, packed = bytearray(), response.body
    bound = MAX_BODY if most is None else most
    member = None
    try:
        # In portions: a member that ends copies what is left, and there may be as many as one likes.
        for at in range(0, len(packed), _PORTION):
            left = packed[at : at + _PORTION]
            while left:
                if member is None:
                    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
                unpacked += member.decompress(left, bound - len(unpacked))
                if len(unpacked) >= bound:
                    if most is None:
                        raise ValueError("body too large")
                    return Response(response.status, response.headers, bytes(unpacked))
                left = member.unused_data
                if member.eof:
                    member = None
    except zlib.error as error:
        raise ValueError(f"not gzip: {error}") from error
    if member is not None:
        raise ValueError("the compressed body ends too early")
    return Response(response.status, response.headers, bytes(unpacked))


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
    if parts[0] == "HTTP/1.0" and "connection" not in headers:
        headers["connection"] = "close"
    return int(parts[1]), headers


def _size(text: str, base: int) -> int:
    digits = text.strip()
    if not digits or not _DIGITS[base].issuperset(digits):  # int() takes signs and underscores, too
        raise ValueError(f"invalid literal for a size: {digits[:40]!r}")
    return int(digits, base)


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.IncompleteReadError):
        return "connection closed before the response was complete"
    if isinstance(error, TlsError) and error.reason:
        words = error.reason.lower().replace("_", " ")
        return f"{words}: {error.detail}" if error.detail else words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
