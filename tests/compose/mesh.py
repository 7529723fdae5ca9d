"""A compose mesh under a name, ports and a state directory of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from bench.ports import free_ports

ROOT = Path(__file__).parents[2]
UP_SECONDS = 300  # with building the images


class ComposeMesh:
    """A project of docker-compose.yml."""

    def __init__(self, state: Path) -> None:
        self.project = f"glassmesh-test-{secrets.token_hex(4)}"
        self.state = state
        self.gateway_port, self.api_port, self.prometheus_port = free_ports(3)
        self.environment = os.environ | {
            "GLASSMESH_GATEWAY_PORT": str(self.gateway_port),
            "GLASSMESH_API_PORT": str(self.api_port),
            "GLASSMESH_PROMETHEUS_PORT": str(self.prometheus_port),
            "GLASSMESH_COMPOSE_STATE": str(state),
        }

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Runs `docker compose`; its output, both streams when it fails."""
        done = subprocess.run(
            ["docker", "compose", "-p", self.project, *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=UP_SECONDS, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(
                f"docker compose {' '.join(arguments)}:\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
            )
        return done.stdout

    def run_in(self, service: str, *command: str) -> str:
        return self.compose("exec", "-T", service, *command)

    def left(self) -> list[str]:
        """Containers, volumes and networks of the project."""
        label = f"label=com.docker.compose.project={self.project}"
        listings = (["ps", "-aq"], ["volume", "ls", "-q"], ["network", "ls", "-q"])
        return [
            line
            for listing in listings
            for line in subprocess.run(
                ["docker", *listing, "--filter", label], capture_output=True, text=True, check=True
            ).stdout.split()
        ]

    def remove_images(self) -> None:
        subprocess.run(
            ["docker", "image", "rm", f"{self.project}-mesh", f"{self.project}-apps"],
            capture_output=True,
            check=False,
        )


def why_not() -> str | None:
    """Why compose cannot run here, or None."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    for command, problem in (
        (["info"], "no Docker engine answers"),
        (["compose", "version"], "no compose v2 plugin"),
    ):
        if subprocess.run(["docker", *command], capture_output=True, check=False).returncode != 0:
            return problem
    return None
