"""Peers with a configuration language of their own: TLS stands on the side between the two proxies, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.peers import haproxy, nginx
from bench.peers.peer import Place
from bench.pki import Authority, spiffe_id


def _place(role: str, directory: Path) -> Place:
    authority = Authority()
    chain, key, root = (directory / name for name in ("chain.pem", "key.pem", "root.pem"))
    for file, text in zip((chain, key), authority.issue(spiffe_id("default", role)), strict=True):
        file.write_text(text)
    root.write_text(authority.root_pem)
    return Place(role, directory, 1001, 1002, chain, key, root, "app.test")


@pytest.mark.parametrize(("role", "tls_line"), [("client", "server app"), ("server", "bind")])
def test_haproxy(role: str, tls_line: str, tmp_path: Path) -> None:
    lines = haproxy.configure(_place(role, tmp_path)).read_text().splitlines()
    (secured,) = [line.split() for line in lines if " ssl " in line]
    assert " ".join(secured).startswith(tls_line)
    assert "verify required" in " ".join(secured)
    pair = Path(secured[secured.index("crt") + 1]).read_text()
    assert ("BEGIN CERTIFICATE" in pair, "PRIVATE KEY" in pair) == (True, True)
    assert any("bind 127.0.0.1:1001" in line for line in lines)
    assert any("server app 127.0.0.1:1002" in line for line in lines)


@pytest.mark.parametrize(
    ("role", "listen", "scheme"), [("client", "1001;", "https"), ("server", "1001 ssl;", "http")]
)
def test_nginx(role: str, listen: str, scheme: str, tmp_path: Path) -> None:
    text = nginx.configure(_place(role, tmp_path)).read_text()
    assert f"listen 127.0.0.1:{listen}" in text
    assert f"proxy_pass {scheme}://app;" in text
    assert ("ssl_verify_client on" in text) == (role == "server")
    assert ("proxy_ssl_certificate " in text) == (role == "client")
