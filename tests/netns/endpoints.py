"""Run inside a namespace: servers that tell where a connection came from and meant to go, and a client of any user.

`endpoints.py serve PORT…` answers each connection with a JSON line: the port that took it, SO_ORIGINAL_DST, the peer's address.
`endpoints.py connect UID GID SOURCE HOST PORT` prints that line, or `{"error": …}`. Standard library only.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import sys

SO_ORIGINAL_DST = 80


def serve(ports: list[int]) -> None:
    selector = selectors.DefaultSelector()
    for port in ports:
        selector.register(socket.create_server(("0.0.0.0", port)), selectors.EVENT_READ)
    print("serving", flush=True)
    while True:
        for key, _ in selector.select():
            connection, peer = key.fileobj.accept()  # type: ignore[union-attr]
            with connection:
                connection.sendall(json.dumps(describe(connection, peer)).encode() + b"\n")


def describe(connection: socket.socket, peer: tuple[str, int]) -> dict[str, object]:
    try:
        port, address = struct.unpack_from(
            "!2xH4s", connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        )
        original = f"{socket.inet_ntoa(address)}:{port}"
    except FileNotFoundError:  # nothing tracks connections here, so nothing was translated
        original = "{}:{}".format(*connection.getsockname())
    return {"port": connection.getsockname()[1], "original": original, "peer": peer[0]}


def connect(uid: int, gid: int, source: str, host: str, port: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)  # from here on the interpreter's own files may be unreadable: nothing more is imported
    with socket.socket() as client:  # belongs to whoever makes it, as the rules see it
        client.settimeout(3)
        try:
            if source:
                client.bind((source, 0))
            client.connect((host, port))
            print(client.recv(4096).decode(), end="")
        except OSError as error:
            print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve([int(port) for port in sys.argv[2:]])
    else:
        connect(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], int(sys.argv[6]))
