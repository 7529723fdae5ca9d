"""Peers with a configuration language of their own: TLS stands on the side between the two proxies, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.peers import haproxy, nginx, python_peers
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


def test_mitmproxy_stands_in_for_the_app(tmp_path: Path) -> None:
    file = python_peers.configure_mitmproxy(_place("client", tmp_path))
    options = json.loads(file.read_text())
    assert (options["listen_host"], options["listen_port"]) == ("127.0.0.1", 1001)
    assert options["mode"] == ["reverse:http://127.0.0.1:1002"]
    assert f"confdir={file.parent}" in python_peers.mitmproxy_command(file)


def test_proxy_py_is_alone_and_knows_nothing_of_our_package(tmp_path: Path) -> None:
    argv = python_peers.proxy_py_command(python_peers.configure_proxy_py(_place("client", tmp_path)))
    assert argv[1] == "-I"
    assert argv[argv.index("--port") + 1] == "1001"
    assert argv[argv.index("--num-workers") + 1] == "1"
    assert str(tmp_path) in argv[argv.index("--data-dir") + 1]


def test_python_peers_that_are_not_installed_say_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_peers, "PEERS_VENV", tmp_path)
    for peer in (python_peers.MITMPROXY, python_peers.PROXY_PY):
        assert "make bench" in peer.unavailable()


def test_the_lock_of_the_python_peers_has_hashes_and_no_addresses() -> None:
    text = (Path(python_peers.__file__).parents[1] / "python_peers" / "peers.lock").read_text()
    assert "mitmproxy==" in text
    assert "proxy-py==" in text
    assert "://" not in text
    assert text.count("--hash=sha256:") > text.count("==")
