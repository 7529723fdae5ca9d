"""`python -m bench.scale`: a table of what one or several mesh sizes cost; the figures as JSON on request."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from bench.scale.run import REAL, WAYS, run

_INSIDE = "GLASSMESH_SCALE_NAMESPACE"


def enter_namespace() -> None:
    """Goes on in a network namespace of our own; without root, in a user namespace as well."""
    if os.environ.get(_INSIDE):
        return
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"bench.scale needs {', '.join(missing)}")
    os.environ[_INSIDE] = "1"
    rootless = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    script = 'ip link set lo up && exec "$@"'
    python = [sys.executable, "-m", "bench.scale", *sys.argv[1:]]
    command = ["unshare", *rootless, "--net", "sh", "-c", script, "sh", *python]
    os.execvp(command[0], command)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[1000])
    parser.add_argument("--endpoints", type=int, default=10, help="per service")
    parser.add_argument("--clients", type=int, default=1000, help="thin xDS clients")
    parser.add_argument("--rounds", type=int, default=5, help="of each change")
    parser.add_argument(
        "--over",
        nargs="+",
        choices=WAYS,
        default=list(WAYS),
        help="how thin clients connect; over TLS with a token, as sidecars do",
    )
    parser.add_argument("--real", nargs="*", default=list(REAL), help="real sidecars: glassmesh, envoy")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    enter_namespace()
    found = []
    for services in arguments.services:
        found.append(
            run(
                services,
                arguments.endpoints,
                arguments.clients,
                arguments.rounds,
                ways=arguments.over,
                real=arguments.real,
            )
        )
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
