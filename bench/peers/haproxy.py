"""HAProxy as a pair with mutual TLS between: one thread, keep-alive both ways, its own HTTP log.

It does what the workload needs and none of what a mesh adds (no identities in headers, no per-route statistics), so it marks
how cheap the bare work is in C.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.peers.peer import Peer, Place

_COMMON = """global
    nbthread 1
    maxconn 8000
    log stdout format raw local0
defaults
    mode http
    log global
    option httplog
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    http-reuse always
"""


def binary() -> str | None:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def configure(place: Place) -> Path:
    """Writes the configuration and the one PEM file that HAProxy wants for chain and key."""
    pair = place.directory / f"haproxy-{place.role}.pem"
    pair.write_text(place.chain.read_text() + place.key.read_text())
    tls = f"ssl crt {pair} ca-file {place.root} verify required"
    bind, server = ("", f" {tls}") if place.role == "client" else (f" {tls}", "")
    file = place.directory / f"haproxy-{place.role}.cfg"
    file.write_text(
        _COMMON + f"frontend in\n    bind 127.0.0.1:{place.port}{bind}\n    default_backend out\n"
        f"backend out\n    server app 127.0.0.1:{place.target_port}{server}\n"
    )
    return file


def command(file: Path) -> list[str]:
    return [binary() or "haproxy", "-db", "-f", str(file)]


def version() -> str:
    text = subprocess.run([binary() or "haproxy", "-v"], capture_output=True, text=True, check=True).stdout
    return text.split()[2]


PEER = Peer(
    name="haproxy",
    title="HAProxy",
    vanilla=True,
    command=command,
    unavailable=lambda: "" if binary() else "no haproxy (Debian package haproxy)",
    version=version,
    configure=configure,
)
