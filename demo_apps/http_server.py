"""A small HTTP/1.1 server, one thread per connection: keep-alive, pipelining, chunked bodies, `Expect`, SIGTERM.

Decides how a connection lives; what is answered is the app's handler. Blocking sockets rather than asyncio because
an app then costs 12 MB instead of 20, and six of them run in one demo. It must not know of any mesh.
Invariant: every request that was read is answered once, also while the server stops. Reference: RFC 9112.
"""

from __future__ import annotations

import http
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from demo_apps.http_message import (
    Headers,
    MessageError,
    chunk,
    head_bytes,
    header,
    last_chunk,
    read_body,
    read_head,
    tokens,
)

# How long SIGTERM waits for answers under way; Kubernetes kills after 30 s.
DRAIN_SECONDS = 10.0


@dataclass(slots=True)
class Request:
    method: str
    target: str  # as received: path and query
    version: str  # "HTTP/1.1"
    headers: Headers
    body: bytes
    trailers: Headers
    raw: bytes  # head and body as received
    peer: str  # ADDRESS:PORT
    local: str

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The last value of each query parameter."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def header(self, name: str, default: str = "") -> str:
        return header(self.headers, name.lower(), default)


@dataclass(slots=True)
class Response:
    """An answer. A `body` of pieces, or any trailers, is sent chunked; bytes with a Content-Length."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: Headers = field(default_factory=list)
    trailers: Headers = field(default_factory=list)


@dataclass(slots=True)
class Takeover:
    """Instead of an answer: `run` gets the socket and the buffered reader; the connection closes after it."""

    run: Callable[[socket.socket, BinaryIO], None]


Handler = Callable[[Request], Response | Takeover]


def reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def address(sockname: tuple[str, int]) -> str:
    return f"{sockname[0]}:{sockname[1]}"


class Connection:
    """One accepted connection: reads requests one after the other and answers them in order."""

    def __init__(self, sock: socket.socket, server: Server) -> None:
        self._sock = sock
        self._server = server
        self._peer = address(sock.getpeername())
        self._local = address(sock.getsockname())
        self._reader = sock.makefile("rb")

    def run(self) -> None:
        """Serves until the peer closes, an answer says close, or the server stops."""
        try:
            while not self._server.stopping:
                request = self._read()
                if request is None or not self._serve(request):
                    return
        except MessageError as error:
            self._refuse(str(error))
        finally:
            self._reader.close()
            self._sock.close()

    def _read(self) -> Request | None:
        head = read_head(self._reader)
        if head is None:
            return None
        method, _, rest = head.start_line.partition(" ")
        target, _, version = rest.rpartition(" ")
        if not method or not target or not version.startswith("HTTP/1."):
            raise MessageError(f"bad request line {head.start_line!r}")
        if "100-continue" in tokens(head.headers, "expect"):
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = read_body(self._reader, head.headers)
        return Request(
            method,
            target,
            version,
            head.headers,
            body.data,
            body.trailers,
            head.raw + body.raw,
            self._peer,
            self._local,
        )

    def _serve(self, request: Request) -> bool:
        """Answers one request; False when the connection must close."""
        with self._server.answering():
            answer = self._server.handler(request)
            if isinstance(answer, Takeover):
                answer.run(self._sock, self._reader)
                return False
            connection = tokens(request.headers, "connection")
            keep = "close" not in connection and (request.version == "HTTP/1.1" or "keep-alive" in connection)
            keep = keep and not self._server.stopping
            self._write(request, answer, keep)
        return keep

    def _write(self, request: Request, answer: Response, keep: bool) -> None:
        headers = [*answer.headers, ("connection", "keep-alive" if keep else "close")]
        start_line = f"HTTP/1.1 {answer.status} {reason(answer.status)}"
        if isinstance(answer.body, bytes) and not answer.trailers:
            if answer.status != 204:
                headers.append(("content-length", str(len(answer.body))))
            without_body = request.method == "HEAD" or answer.status in (204, 304)
            self._sock.sendall(head_bytes(start_line, headers) + (b"" if without_body else answer.body))
            return
        headers.append(("transfer-encoding", "chunked"))
        if answer.trailers:
            headers.append(("trailer", ", ".join(name for name, _ in answer.trailers)))
        self._sock.sendall(head_bytes(start_line, headers))
        for piece in [answer.body] if isinstance(answer.body, bytes) else answer.body:
            if piece:
                self._sock.sendall(chunk(piece))
        self._sock.sendall(last_chunk(answer.trailers))

    def _refuse(self, why: str) -> None:
        body = f"{why}\n".encode()
        head = head_bytes(
            "HTTP/1.1 400 Bad Request", [("connection", "close"), ("content-length", str(len(body)))]
        )
        try:
            self._sock.sendall(head + body)
        except OSError:
            pass  # the peer that cut its message short is often gone


class Server:
    """Accepts connections on `port` (0: any free one) until `close`."""

    def __init__(self, handler: Handler, port: int, host: str = "0.0.0.0") -> None:
        self.handler = handler
        self.stopping = False
        self._listener = socket.create_server((host, port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._busy = 0
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()

    def __repr__(self) -> str:
        return f"<Server :{self.port}, {len(self._connections)} connections, {self._busy} answering>"

    def serve(self) -> None:
        """Accepts until closed; runs in the caller's thread."""
        while not self.stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self.stopping:
                    return
                raise
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._connection, args=(sock,), daemon=True).start()

    def _connection(self, sock: socket.socket) -> None:
        with self._changed:
            self._connections.add(sock)
        try:
            Connection(sock, self).run()
        except OSError:
            sock.close()  # the peer went away in the middle; there is nobody left to tell
        finally:
            with self._changed:
                self._connections.discard(sock)
                self._changed.notify_all()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Counts an answer under way, for the drain."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, by: int) -> None:
        with self._changed:
            self._busy += by
            self._changed.notify_all()

    def close(self, drain: float = 0.0) -> None:
        """Stops accepting, waits up to `drain` seconds for answers under way, then closes every connection."""
        self.stopping = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() alone does not
        except OSError:
            pass
        self._listener.close()
        with self._changed:
            self._changed.wait_for(lambda: self._busy == 0, timeout=drain)
            for sock in self._connections:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self._changed.wait_for(lambda: not self._connections, timeout=1.0)


def logged(handler: Handler) -> Handler:
    """Prints one line per request, `METHOD TARGET STATUS MILLISECONDS`, as `kubectl logs` should show it."""

    def handle(request: Request) -> Response | Takeover:
        began = time.monotonic()
        answer = handler(request)
        status = answer.status if isinstance(answer, Response) else "-"
        if request.path != "/health":
            print(
                f"{request.method} {request.target} {status} {(time.monotonic() - began) * 1000:.1f}ms",
                flush=True,
            )
        return answer

    return handle


def run(handler: Handler, port: int) -> None:
    """Serves until SIGTERM or SIGINT, then drains. As pid 1 of a container nobody else handles the signal."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server = Server(logged(handler), port)
    print(f"listening on 0.0.0.0:{server.port}", flush=True)
    try:
        server.serve()
    finally:
        server.close(drain=DRAIN_SECONDS)
