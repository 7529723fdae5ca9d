"""mitmproxy and proxy.py, Python's own proxies, on their own ground: one plaintext hop between client and app.

Each with what makes it fastest here: one process, one thread for connections, no log. mitmproxy stands in for the app (its `reverse` mode),
proxy.py is asked for absolute URLs (it keeps a connection to the app only so). They live in an environment of their own below
`bench/.peers`, since they pin what the sidecar needs newer.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.peers.peer import Peer, Place

PEERS_VENV = Path(__file__).resolve().parent.parent / ".peers"


def _program(name: str) -> Path:
    return PEERS_VENV / "bin" / name


def _unavailable(name: str) -> str:
    return "" if _program(name).exists() else f"no {name} in bench/.peers (make bench installs it)"


def _version(distribution: str) -> str:
    """As the lock's environment has it."""
    code = f"from importlib.metadata import version as v; print(v({distribution!r}))"
    told = subprocess.run([_program("python"), "-c", code], capture_output=True, text=True, check=True)
    return told.stdout.strip()


def configure_mitmproxy(place: Place) -> Path:
    """Writes the options file, in a directory that also takes the certificates it makes."""
    home = place.directory / "mitmproxy"
    home.mkdir(exist_ok=True)
    file = home / "config.yaml"
    options = {
        "listen_host": "127.0.0.1",
        "listen_port": place.port,
        "mode": [f"reverse:http://127.0.0.1:{place.target_port}"],
    }
    file.write_text(json.dumps(options))  # JSON is YAML
    return file


def mitmproxy_command(file: Path) -> list[str]:
    return [str(_program("mitmdump")), "--quiet", "--set", f"confdir={file.parent}"]


def configure_proxy_py(place: Place) -> Path:
    """Writes its command line, which is all the configuration it has."""
    file = place.directory / "proxy_py.json"
    flags = f"--hostname 127.0.0.1 --port {place.port} --num-acceptors 1 --num-workers 1 --local-executor 1 --threadless"
    home = place.directory / "proxy_py"
    file.write_text(json.dumps([*flags.split(), "--log-level", "ERROR", "--data-dir", str(home)]))
    return file


def proxy_py_command(file: Path) -> list[str]:
    # Isolated: its package has the name of ours, which is on the path of everything the bench starts.
    return [str(_program("python")), "-I", str(_program("proxy")), *json.loads(file.read_text())]


MITMPROXY = Peer(
    name="mitmproxy",
    title="mitmproxy",
    vanilla=True,
    command=mitmproxy_command,
    unavailable=lambda: _unavailable("mitmdump"),
    version=lambda: _version("mitmproxy"),
    configure=configure_mitmproxy,
)
PROXY_PY = Peer(
    name="proxy_py",
    title="proxy.py",
    vanilla=True,
    command=proxy_py_command,
    unavailable=lambda: _unavailable("proxy"),
    version=lambda: _version("proxy.py"),
    configure=configure_proxy_py,
    forward=True,
)
