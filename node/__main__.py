"""`python -m node`: pid 1 of a mesh, started by `glassmesh up` inside the mesh's namespaces."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

from node.restart import BASE_SECONDS
from node.server import Settings, prepare, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m node", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="directory of the mesh's state, absolute")
    parser.add_argument("--api-fd", type=int, required=True, help="listening socket of the API, made outside")
    parser.add_argument(
        "--gateway-fd", type=int, required=True, help="listening socket of the gateway, made outside"
    )
    parser.add_argument(
        "--back-off", type=float, default=BASE_SECONDS, help="first pause before a restart, in seconds"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(arguments.state, arguments.api_fd, arguments.gateway_fd, arguments.back_off)
    asyncio.run(run(settings, prepare(settings)))


if __name__ == "__main__":
    main()
