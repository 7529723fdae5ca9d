"""nginx as a pair with mutual TLS between: one worker, keep-alive both ways, its combined log.

As HAProxy, it does the bare work and nothing a mesh adds.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.peers.peer import Peer, Place


def binary() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def _configuration(place: Place, home: Path) -> str:
    client = place.role == "client"
    scheme = "https" if client else "http"
    serve_tls = f"""ssl_certificate {place.chain};
        ssl_certificate_key {place.key};
        ssl_client_certificate {place.root};
        ssl_verify_client on;"""
    # The server's certificate names a SPIFFE URI, which nginx cannot check; that it comes from the mesh's CA, it does.
    send_tls = f"""proxy_ssl_certificate {place.chain};
            proxy_ssl_certificate_key {place.key};
            proxy_ssl_trusted_certificate {place.root};
            proxy_ssl_session_reuse on;"""
    return f"""master_process off;
worker_processes 1;
daemon off;
pid {home}/pid;
error_log stderr warn;
events {{ worker_connections 8000; }}
http {{
    access_log /dev/stdout combined;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    keepalive_requests 1000000000;
    upstream app {{ server 127.0.0.1:{place.target_port}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{place.port}{"" if client else " ssl"};
        {"" if client else serve_tls}
        location / {{
            proxy_pass {scheme}://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            {send_tls if client else ""}
        }}
    }}
}}
"""


def configure(place: Place) -> Path:
    """Writes the configuration, with all of nginx's own files below the run's directory."""
    home = place.directory / f"nginx-{place.role}"
    home.mkdir()
    file = home / "nginx.conf"
    file.write_text(_configuration(place, home))
    return file


def command(file: Path) -> list[str]:
    return [binary() or "nginx", "-p", str(file.parent), "-e", "stderr", "-c", str(file)]


def version() -> str:
    told = subprocess.run([binary() or "nginx", "-v"], capture_output=True, text=True, check=True).stderr
    return told.strip().rpartition("/")[2]


PEER = Peer(
    name="nginx",
    title="nginx",
    vanilla=True,
    command=command,
    unavailable=lambda: "" if binary() else "no nginx (Debian package nginx-light)",
    version=version,
    configure=configure,
)
