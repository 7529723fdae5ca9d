"""Where a redirected connection wanted to go: SO_ORIGINAL_DST, as netfilter remembers it.

Shell. A connection that was not redirected has no other destination than the one it arrived at.
Reference: Linux include/uapi/linux/netfilter_ipv4.h; Envoy source/extensions/filters/listener/original_dst.
"""

from __future__ import annotations

import socket
import struct

_SO_ORIGINAL_DST = 80  # the same number for IPv4 (level SOL_IP) and IPv6 (level SOL_IPV6)
_SOL_IPV6 = 41


def original_destination(sock: socket.socket) -> tuple[str, int] | None:
    """(address, port) before redirection; None if the kernel knows of none."""
    try:
        if sock.family == socket.AF_INET:
            raw = sock.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
            port, address = struct.unpack_from("!2xH4s", raw)
        else:
            raw = sock.getsockopt(_SOL_IPV6, _SO_ORIGINAL_DST, 28)
            port, address = struct.unpack_from("!2xH4x16s", raw)
    except OSError:
        return None
    return socket.inet_ntop(sock.family, address), port
