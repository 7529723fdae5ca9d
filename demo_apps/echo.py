"""An HTTP server that reports all it received, for seeing what proxies in front of it did. `python -m demo_apps.echo PORT`.

| path | answers |
|---|---|
| anything | JSON: method, path, version, headers in order and case, body, trailers, peer, local, hostname, service_version |
| `/status/CODE` | the same with that status |
| `/delay/SECONDS` | the same, later |
| `/bytes/N` | N bytes with a Content-Length; `?chunked=SIZE` sends them in chunks of SIZE |
| `/trailers?name=value` | the report, chunked, with these trailers |
| `/response-headers?name=value` | the report, with these headers |
| `/raw` | the request exactly as received, as message/http |
| `/send` | nothing of its own: the request body is written to the connection as it is, which then closes |
| `/close`, `/reset` | no answer: FIN or RST |
| any, with `Upgrade:` | 101, and then every byte back |
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from demo_apps.http_message import head_bytes, tokens
from demo_apps.http_server import Request, Response, Takeover, run

MAX_BYTES = 1 << 30
PIECE = 64 * 1024


def report(request: Request) -> bytes:
    """What was received, as JSON; bytes that are not UTF-8 are shown as Latin-1."""
    try:
        body = request.body.decode()
    except UnicodeDecodeError:
        body = request.body.decode("latin-1")
    received = {
        "method": request.method,
        "path": request.target,
        "version": request.version,
        "headers": [[name, value] for name, value in request.headers],
        "body": body,
        "trailers": [[name, value] for name, value in request.trailers],
        "peer": request.peer,
        "local": request.local,
        "hostname": os.environ.get("HOSTNAME") or socket.gethostname(),
        "service_version": os.environ.get("SERVICE_VERSION", ""),
    }
    return json.dumps(received, indent=2).encode() + b"\n"


def reported(request: Request, status: int = 200) -> Response:
    return Response(report(request), status, [("content-type", "application/json")])


def status(request: Request, argument: str) -> Response:
    return reported(request, int(argument))


def delay(request: Request, argument: str) -> Response:
    time.sleep(float(argument))
    return reported(request)


def sized(request: Request, argument: str) -> Response:
    count = min(int(argument), MAX_BYTES)
    headers = [("content-type", "application/octet-stream")]
    size = int(request.query.get("chunked", "0"))
    if not size:
        return Response(b"x" * count, headers=headers)

    def pieces() -> Iterator[bytes]:
        for at in range(0, count, size):
            yield b"x" * min(size, count - at)

    return Response(pieces(), headers=headers)


def trailers(request: Request, _: str) -> Response:
    answer = reported(request)
    answer.trailers = list(request.query.items())
    return answer


def response_headers(request: Request, _: str) -> Response:
    answer = reported(request)
    answer.headers += request.query.items()
    return answer


def raw(request: Request, _: str) -> Response:
    return Response(request.raw, headers=[("content-type", "message/http")])


def send(request: Request, _: str) -> Takeover:
    return Takeover(lambda sock, _reader: sock.sendall(request.body))


def close(_request: Request, _: str) -> Takeover:
    return Takeover(lambda _sock, _reader: None)


def reset(_request: Request, _: str) -> Takeover:
    def abort(sock: socket.socket, _reader: BinaryIO) -> None:
        # Lingering for zero seconds makes close() send RST (socket(7)).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return Takeover(abort)


def upgrade(request: Request) -> Takeover:
    def mirror(sock: socket.socket, reader: BinaryIO) -> None:
        headers = [("connection", "upgrade"), ("upgrade", request.header("upgrade"))]
        sock.sendall(head_bytes("HTTP/1.1 101 Switching Protocols", headers))
        while piece := reader.read1(PIECE):  # type: ignore[attr-defined]  # a BufferedReader has it
            sock.sendall(piece)

    return Takeover(mirror)


ROUTES: dict[str, Callable[[Request, str], Response | Takeover]] = {
    "status": status,
    "delay": delay,
    "bytes": sized,
    "trailers": trailers,
    "response-headers": response_headers,
    "raw": raw,
    "send": send,
    "close": close,
    "reset": reset,
}


def handle(request: Request) -> Response | Takeover:
    if "upgrade" in tokens(request.headers, "connection") and request.header("upgrade"):
        return upgrade(request)
    name, _, argument = request.path.lstrip("/").partition("/")
    route = ROUTES.get(name)
    if route is None:
        return reported(request)
    try:
        return route(request, argument)
    except ValueError as error:
        return Response(f"{request.path}: {error}\n".encode(), 400)


if __name__ == "__main__":
    run(handle, int(sys.argv[1]))
