"""A TCP echo: each received line comes back with a prefix. `python -m demo_apps.tcp_echo PORT[,PORT…] [PREFIX] [--first TEXT]`.

As Istio's tcp-echo sample (`9000,9001 hello`). With `--first` the server speaks first, as SMTP and MySQL do, which no
protocol detection can see through.
"""

from __future__ import annotations

import argparse
import signal
import socket
import threading
from types import FrameType


class TcpEcho:
    """Listens on `ports` (0: any free one) until `close`."""

    def __init__(self, ports: list[int], prefix: str = "", first: str = "") -> None:
        self._prefix = f"{prefix} ".encode() if prefix else b""
        self._first = f"{first}\n".encode() if first else b""
        self._listeners = [socket.create_server(("0.0.0.0", port), backlog=128) for port in ports]
        self._threads = [threading.Thread(target=self._accept, args=(each,)) for each in self._listeners]

    @property
    def ports(self) -> list[int]:
        return [listener.getsockname()[1] for listener in self._listeners]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stops accepting; connections under way end with their peers."""
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which close() alone does not
        for thread in self._threads:
            thread.join()
        for listener in self._listeners:
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock, sock.makefile("rb") as reader:
                sock.sendall(self._first)
                for line in reader:
                    sock.sendall(self._prefix + line)
        except OSError:
            pass  # the peer went away


def main() -> None:
    parser = argparse.ArgumentParser(prog="demo_apps.tcp_echo")
    parser.add_argument("ports", type=lambda text: [int(port) for port in text.split(",")])
    parser.add_argument("prefix", nargs="?", default="")
    parser.add_argument(
        "--first", default="", metavar="TEXT", help="a line to send before anything was received"
    )
    arguments = parser.parse_args()
    server = TcpEcho(arguments.ports, arguments.prefix, arguments.first)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        server.close()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.start()
    print(f"listening on {', '.join(map(str, server.ports))}", flush=True)


if __name__ == "__main__":
    main()
