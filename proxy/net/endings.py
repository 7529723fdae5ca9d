"""How a connection ended, and how TLS says that it ends; what Python's ssl leaves out.

Knows no connection and no owner. Reference: RFC 8446 §6.1.
"""

from __future__ import annotations

import os
import socket
import ssl

_TCP_CLOSE = 7  # enum in netinet/tcp.h
_END = "UNEXPECTED_EOF_WHILE_READING"


def was_reset(sock: socket.socket, error: ssl.SSLEOFError) -> bool:
    """Whether a TLS connection that ended unannounced, as `error` says, was reset, which Python's ssl does not tell from an end.

    OpenSSL 3 names an end. What the kernel calls closed may also have ended on both sides, ours first.
    """
    return error.reason != _END and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE


def close_notify(tls: ssl.SSLSocket) -> bytes:
    """The close_notify alert, made without a look at what the peer is sending.

    Python's shutdown goes on to look for the peer's close_notify, and swallows data that arrives at that moment. So
    OpenSSL's descriptor stands for an empty socket pair meanwhile, where the alert is picked up.
    """
    fd = tls.fileno()
    here, there = socket.socketpair()
    kept = os.dup(fd)
    try:
        there.setblocking(False)
        os.dup2(there.fileno(), fd, inheritable=False)
        try:
            send_close_notify(tls)
        finally:
            os.dup2(kept, fd, inheritable=False)
        return here.recv(4096, socket.MSG_DONTWAIT)
    finally:
        os.close(kept)
        here.close()
        there.close()


def send_close_notify(tls: ssl.SSLSocket) -> None:
    """Send TLS close_notify without waiting for the peer's."""
    try:
        tls.unwrap()
    except (OSError, ValueError):
        pass  # SSLWantRead: sent, the peer's answer is not awaited
