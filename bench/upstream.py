"""The app behind the server sidecar: one thread, epoll, one answer made in advance.

    python -m bench.upstream PORT BODY_BYTES

A request is recognised by the blank line that ends its head (the bench sends no request bodies), so its cost stays
far below that of any proxy under test.
"""

from __future__ import annotations

import select
import socket
import sys


def answer(body_bytes: int) -> bytes:
    body = payload(body_bytes)
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def payload(body_bytes: int) -> bytes:
    """The answer's body, which the generator compares byte for byte."""
    return (b"glassmesh" * (body_bytes // 9 + 1))[:body_bytes]


def listen(port: int) -> socket.socket:
    sock = socket.create_server(("127.0.0.1", port), backlog=1024)
    sock.setblocking(False)
    return sock


def serve(listener: socket.socket, response: bytes) -> None:
    """Answers until the process is ended."""
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    accepting = listener.fileno()
    connections: dict[int, socket.socket] = {}
    pending: dict[int, bytes] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == accepting:
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection.fileno(), select.EPOLLIN)
                continue
            connection = connections[fd]
            try:
                data = connection.recv(65536)
            except OSError:
                data = b""
            if not data:
                poll.unregister(fd)
                del connections[fd]
                pending.pop(fd, None)
                connection.close()
                continue
            if fd in pending:
                data = pending.pop(fd) + data
            requests = data.count(b"\r\n\r\n")
            if not data.endswith(b"\r\n\r\n"):
                pending[fd] = data[data.rfind(b"\r\n\r\n") + 4 :] if requests else data
            if requests:
                # Answers fit the socket buffer: at most one request is outstanding on a connection.
                connection.sendall(response if requests == 1 else response * requests)


if __name__ == "__main__":
    serve(listen(int(sys.argv[1])), answer(int(sys.argv[2])))
