"""`python -m control`: reads the command line and runs the control plane until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import asyncio.sslproto
import logging
import os
import signal
import socket
import sys
from datetime import timedelta
from pathlib import Path

from control.mesh_config import BadMeshConfig, load_mesh_config
from control.resources.istio_types import parse_duration
from control.server import ControlPlane, Options, Ports

TLS_RECORD = 16 * 1024  # bytes; no record holds more, so a larger buffer reads no more at once


def _ttl(text: str) -> timedelta:
    try:
        seconds = float(parse_duration(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if seconds < 1:
        raise argparse.ArgumentTypeError("want at least 1s")
    return timedelta(seconds=seconds)


def _socket(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"want ADDRESS:PORT, got {address!r}")
    return socket.create_server((host.strip("[]"), int(port)), family=_family(host))


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m control", description="The Glassmesh control plane.")
    parser.add_argument(
        "--state", type=Path, default=Path(".glassmesh"), help="directory of store, CA and kubeconfig"
    )
    api = parser.add_mutually_exclusive_group()
    api.add_argument("--api-fd", type=int, help="descriptor of the API's listening socket")
    api.add_argument(
        "--api-address", default="127.0.0.1:0", help="where to listen for the API; port 0 is any"
    )
    parser.add_argument("--api-server", default="", help="URL to write into the kubeconfig, if another")
    parser.add_argument("--xds-address", default="0.0.0.0", help="address of 15012, 15014 and 15017")
    parser.add_argument("--xds-port", type=int, default=Ports.plaintext, help="plaintext xDS, on loopback")
    parser.add_argument("--secure-port", type=int, default=Ports.tls, help="xDS and CA over TLS")
    parser.add_argument("--monitoring-port", type=int, default=Ports.monitoring, help="metrics, debug pages")
    parser.add_argument("--webhook-port", type=int, default=Ports.webhook, help="injection webhook")
    parser.add_argument("--name", action="append", default=[], help="further name of the server certificate")
    parser.add_argument("--trust-domain", help="default: that of the mesh config, cluster.local")
    parser.add_argument(
        "--mesh-config",
        type=Path,
        metavar="FILE",
        default=os.environ.get("GLASSMESH_MESH_CONFIG") or None,
        help="MeshConfig as YAML; default: what GLASSMESH_MESH_CONFIG names",
    )
    parser.add_argument("--workload-cert-ttl", type=_ttl, default=timedelta(hours=24), help="default 24h")
    parser.add_argument(
        "--max-workload-cert-ttl", type=_ttl, default=timedelta(days=90), help="default 2160h"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log every push")
    return parser


async def serve(options: Options) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    control_plane = ControlPlane(options)
    try:
        await control_plane.start()
        await stop.wait()
    finally:
        await control_plane.stop()


def bound_tls_buffers() -> None:
    """Room for one TLS record per connection instead of 256 KiB: an Envoy holds a poll, so a connection, per cluster."""
    asyncio.sslproto.SSLProtocol.max_size = TLS_RECORD


def main() -> int:
    arguments = _parser().parse_args()
    bound_tls_buffers()
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s\t%(levelname)s\t%(name)s\t%(message)s",
    )
    for noisy in ("asyncio", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        mesh = load_mesh_config(arguments.mesh_config)
        mesh.features = mesh.features.with_environment(os.environ)
        if arguments.trust_domain:
            mesh = mesh.model_copy(update={"trustDomain": arguments.trust_domain})
        api = (
            socket.socket(fileno=arguments.api_fd)
            if arguments.api_fd is not None
            else _socket(arguments.api_address)
        )
        options = Options(
            state=arguments.state,
            api=api,
            mesh=mesh,
            address=arguments.xds_address,
            ports=Ports(
                arguments.xds_port, arguments.secure_port, arguments.monitoring_port, arguments.webhook_port
            ),
            workload_ttl=arguments.workload_cert_ttl,
            max_workload_ttl=arguments.max_workload_cert_ttl,
            names=tuple(arguments.name),
            api_server=arguments.api_server,
        )
        asyncio.run(serve(options))
    except (BadMeshConfig, argparse.ArgumentTypeError, OSError) as error:
        print(f"glassmesh control: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
