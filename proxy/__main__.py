"""`python -m proxy`: reads the command line and starts one of the sidecar's roles.

Roles: `sidecar` and `router` from the environment, `agent` beside a real Envoy, or `-c FILE` from an Envoy bootstrap. A start
that cannot work ends with one clear line and status 1. Imports of a role happen when it is chosen: memory.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from proxy.lean_imports import import_lean
from proxy.observability import logging

_OPENSSL_CONF = Path(__file__).parent / "tls" / "openssl.cnf"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m proxy",
        description="The Glassmesh sidecar: takes Envoy's xDS and serves traffic, or runs a real Envoy.",
        # Told its width it does not load shutil and all archive formats to ask the terminal.
        formatter_class=partial(argparse.HelpFormatter, width=100),
    )
    parser.add_argument(
        "role",
        nargs="?",
        choices=("sidecar", "router", "agent"),
        help="configured by environment, as Istio's: a pod's sidecar, a gateway, or the agent beside a real Envoy",
    )
    parser.add_argument("-c", "--config-path", metavar="FILE", type=Path, help="an Envoy bootstrap in JSON")
    parser.add_argument(
        "-l", "--log-level", default="info", choices=tuple(logging.LEVELS), help="default: info"
    )
    parser.add_argument(
        "--concurrency",
        type=int,
        metavar="N",
        help="worker processes; default: `concurrency` of PROXY_CONFIG (0: one per CPU), else 1",
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)  # this is to be a worker of another such process
    parser.add_argument(
        "--drain-time-s", type=float, help="seconds a removed listener drains; default: 45, with -c 600"
    )
    parser.add_argument(
        "--http1-codec",
        default="httptools",
        choices=("httptools", "h11"),
        help="the HTTP/1.1 parser; h11 is slow and strict, to compare with",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run until told to stop; the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if (options.role is None) == (options.config_path is None):
        parser.error("want one of: sidecar, router, agent, or -c FILE")
    logging.start(options.log_level)
    configure_openssl()
    import_lean("asyncio", "hashlib", "msgspec", *(() if options.role == "agent" else ("uvloop",)))
    from proxy.agent.environment import SettingsError

    try:
        return _run(options, [sys.executable, "-m", "proxy", *(sys.argv[1:] if argv is None else argv)])
    except (SettingsError, OSError) as error:
        print(f"glassmesh proxy: {error}", file=sys.stderr)
        return 1


def configure_openssl() -> None:
    """Name OpenSSL's settings, which it reads once: before the first import that loads it."""
    os.environ.setdefault("OPENSSL_CONF", str(_OPENSSL_CONF))


def _run(options: argparse.Namespace, command: list[str]) -> int:
    from proxy.agent import environment

    if options.role == "agent":
        from proxy.agent import envoy_agent

        return envoy_agent.run(environment.read("sidecar", os.environ))
    from proxy import bootstrap, server

    if options.config_path is not None:
        start = bootstrap.from_file(options.config_path)
    else:
        start = bootstrap.from_environment(environment.read(options.role, os.environ))
    serving = {"drain_time": options.drain_time_s, "http1_codec": options.http1_codec}
    if options.worker is not None:
        return server.run_worker(start, options.worker, **serving)
    concurrency = bootstrap.concurrency(start, options.concurrency)
    return server.run(start, concurrency=concurrency, command=command, **serving)


if __name__ == "__main__":
    sys.exit(main())
