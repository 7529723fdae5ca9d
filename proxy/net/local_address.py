"""This machine's own address, as others on its network see it. Opens a socket, sends nothing.

Reference: Envoy source/common/network/utility.cc `getLocalAddress`, which takes the first interface that is not loopback.
"""

from __future__ import annotations

import socket

_ELSEWHERE = ("192.0.2.1", 9)  # TEST-NET-1 (RFC 5737): nobody is there, and nothing is sent
_LOOPBACK = "127.0.0.1"


def local_address() -> str:
    """The IPv4 address packets to other networks leave from; loopback where there is no way out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ELSEWHERE)
        except OSError:
            return _LOOPBACK
        return str(probe.getsockname()[0])
