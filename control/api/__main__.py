"""`python -m control.api`: the API alone, without a mesh, for trying kubectl against it.

The control plane composes the same parts in `control.server`.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import socket
from pathlib import Path

from aiohttp import web

from control.analysis.admission import ApplyWarnings
from control.api.admission import Admission
from control.api.certificates import make_serving_certificate, server_context
from control.api.kubeconfig import write_kubeconfig
from control.api.server import make_app
from control.mesh_config import MeshConfig
from control.resources import KINDS
from control.store.sqlite import SqliteStore


async def serve(state: Path, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM, with the store and the kubeconfig in `state`."""
    certificate, token = make_serving_certificate(), secrets.token_urlsafe(32)
    store = SqliteStore(state / "store.sqlite")
    admission = Admission(validators=(ApplyWarnings(MeshConfig()).check,))
    app = make_app(store, KINDS, admin_token=token, admission=admission, node_socket=state / "node.sock")
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listener, ssl_context=server_context(certificate)).start()
    server = f"https://127.0.0.1:{listener.getsockname()[1]}"
    write_kubeconfig(state / "kubeconfig", server, certificate.root, token)
    print(f"serving {server}; kubectl --kubeconfig {state / 'kubeconfig'}", flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m control.api", description=__doc__)
    parser.add_argument(
        "--state", type=Path, default=Path(".glassmesh"), help="directory of store and kubeconfig"
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 is any free one")
    parser.add_argument("--fd", type=int, help="descriptor of a listening socket, instead of --port")
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    if arguments.fd is not None:
        listener = socket.socket(fileno=arguments.fd)
    else:
        listener = socket.create_server(("127.0.0.1", arguments.port))
    asyncio.run(serve(arguments.state, listener))


if __name__ == "__main__":
    main()
