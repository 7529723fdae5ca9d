"""The mesh the demo starts, looks into and ends: `glassmesh up`, `exec` and kubectl as commands, the way a user would.

A state directory of its own, so that a mesh the user keeps is neither met nor changed; gone afterwards unless something failed, for then
its logs tell why. Everything runs as processes of its own: this one has threads, and entering namespaces allows none.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from cli.demo_facts import Started
from node import run_state, running_mesh, teardown

STATE = Path(".glassmesh/demo")
OUR_COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]
COMMAND_SECONDS = 30


class DemoFailed(Exception):
    """The mesh cannot be started or used; the text is for the user."""


def manifest(name: str) -> Path:
    """A file of demo_apps/manifests, named from here when it is below."""
    path = Path(str(importlib.resources.files("demo_apps") / "manifests" / name))
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class RunningMesh:
    """A mesh started for the demo; `cli.demo_steps.Mesh`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.gateway = ""

    def __repr__(self) -> str:
        return f"<RunningMesh {self.gateway or 'not started'}>"

    def up(self, manifests: Sequence[str], gateway_port: int | None) -> Started:
        """Starts the mesh and returns when every pod is ready. Raises DemoFailed."""
        if (run := run_state.read(self.state)) and run.alive:
            raise DemoFailed(
                f"a demo runs here already (pid {run.pid}); `glassmesh down --state {self.state}` ends it"
            )
        shutil.rmtree(self.state, ignore_errors=True)
        files = [argument for name in manifests for argument in ("-f", str(manifest(name)))]
        port = [] if gateway_port is None else ["--gateway-port", str(gateway_port)]
        began = time.monotonic()
        command = [*OUR_COMMAND, "up", "--detach", "--state", str(self.state), *port, *files]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as up:
            try:
                said, _ = up.communicate()
            except BaseException:
                up.send_signal(signal.SIGINT)  # it ends what it has started
                raise
        if up.returncode != 0:
            raise DemoFailed(said.strip() or f"glassmesh up ended with status {up.returncode}")
        seconds = time.monotonic() - began
        self.gateway = f"http://127.0.0.1:{running_mesh.find(self.state).gateway_port}"
        return self._started(seconds)

    def _started(self, seconds: float) -> Started:
        answer = running_mesh.ask(self.state, "/pods")
        pods = [running_mesh.Pod(document) for document in answer["pods"]]
        containers = sum(int(each["memory"]) for pod in pods for each in pod.containers)
        memory = containers + sum(answer["memory"].values())
        return Started(sum(pod.ready for pod in pods), len(pods), seconds, memory)

    def run(self, pod: str, command: Sequence[str], *, root: bool = False) -> str:
        done = subprocess.run(
            self._exec(pod, command, root),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise OSError(
                f"{' '.join(command)} in {pod}: {done.stderr.strip() or f'status {done.returncode}'}"
            )
        return done.stdout

    @contextlib.contextmanager
    def start(self, pod: str, command: Sequence[str]) -> Iterator[IO[str]]:
        with subprocess.Popen(
            self._exec(pod, command, True), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout
            finally:
                process.terminate()

    def _exec(self, pod: str, command: Sequence[str], root: bool) -> list[str]:
        flags = ["--root"] if root else []
        return [*OUR_COMMAND, "exec", "--state", str(self.state), *flags, pod, "--", *command]

    def apply(self, manifests: Sequence[str]) -> str:
        files = [argument for name in manifests for argument in ("-f", str(manifest(name)))]
        arguments = ["--kubeconfig", str(self.state / "kubeconfig"), *files]
        known = shutil.which("kubectl")
        command = [known, "apply", *arguments] if known else [*OUR_COMMAND, "apply", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        if done.returncode != 0:
            raise OSError(done.stderr.strip() or f"apply ended with status {done.returncode}")
        return f"{'kubectl' if known else our_name()} apply -f {Path(files[-1]).name}"

    def end(self, *, keep_logs: bool) -> None:
        """Ends the mesh and removes its state; with `keep_logs` the directory stays. Raises DemoFailed."""
        run = run_state.read(self.state)
        running = teardown.handle(run) if run else None
        if running is not None:
            try:
                teardown.end(running)
            except teardown.CannotEnd as error:
                raise DemoFailed(str(error)) from None
            finally:
                running.close()
        teardown.forget(self.state)
        if not keep_logs:
            shutil.rmtree(self.state, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.state.parent.rmdir()  # only if nobody else keeps a mesh there


def our_name() -> str:
    """How the user can call our command: by name where it is on PATH, else by path."""
    if shutil.which("glassmesh"):
        return "glassmesh"
    path = Path(sys.executable).with_name("glassmesh")
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
