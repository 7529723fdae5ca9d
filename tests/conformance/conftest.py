"""The API as a process of its own, and kubectl run against it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SECONDS = 30  # after which a command is stuck


class Kubectl:
    """One API server and its kubeconfig; calling it runs kubectl and returns what it printed on stdout."""

    def __init__(self, state: Path, binary: str) -> None:
        self.state = state
        self.kubeconfig = state / "kubeconfig"
        self._binary = binary
        self._environment = {**os.environ, "HOME": str(state), "KUBECONFIG": str(self.kubeconfig)}

    def run(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._binary, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            env={**self._environment, **environment},
            check=False,
        )

    def __call__(self, *arguments: str, stdin: str | None = None, **environment: str) -> str:
        done = self.run(*arguments, stdin=stdin, **environment)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl said when it failed, as it must."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 1, f"kubectl {' '.join(arguments)} should fail\n{done.stdout}{done.stderr}"
        return done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "-o", "json"))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A kubectl that runs on, as `get -w`; the caller ends it."""
        return subprocess.Popen(
            [self._binary, *arguments], stdout=subprocess.PIPE, text=True, env=self._environment
        )


@pytest.fixture(scope="session")
def api_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state directory of a running API, with its kubeconfig."""
    state = tmp_path_factory.mktemp("api")
    process = subprocess.Popen(
        [sys.executable, "-m", "control.api", "--state", str(state)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("serving"), "the API did not start"
        yield state
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.fixture(scope="session")
def kubectl(api_state: Path) -> Kubectl:
    binary = shutil.which("kubectl")
    if binary is None:
        pytest.skip("kubectl is not installed: the API is tested without it in tests/unit/control/api")
    return Kubectl(api_state, binary)


@pytest.fixture
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[str]:
    """A Namespace of the test's own."""
    # A namespace takes a while to go: the next case of the same test must not meet it.
    name = f"{request.node.originalname.replace('_', '-')[:50].strip('-')}-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
