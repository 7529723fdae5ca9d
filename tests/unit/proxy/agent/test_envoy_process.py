"""The child process beside the agent, with a program in Envoy's place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proxy import compiled
from proxy.agent import envoy_process
from proxy.agent.environment import SettingsError
from tests.unit.bench.test_children import alive

AGENT = """
import asyncio, os, sys
from pathlib import Path
from proxy.agent.envoy_process import EnvoyProcess

async def main():
    process = EnvoyProcess(Path(sys.argv[1]), {}, Path(sys.argv[2]))
    await process.start(1.0, None)
    print(process._child.pid, flush=True)
    os._exit(9)

asyncio.run(main())
"""


def test_an_agent_that_dies_takes_its_envoy_along(tmp_path: Path) -> None:
    binary = tmp_path / "envoy"
    binary.write_text("#!/bin/sh\nexec sleep 60\n")
    binary.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(compiled.ROOT)}
    argv = [sys.executable, "-c", AGENT, str(binary), str(tmp_path)]
    agent = subprocess.run(argv, stdout=subprocess.PIPE, env=environment, check=False)
    assert agent.returncode == 9
    pid, deadline = int(agent.stdout), time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline, "Envoy outlives its agent"
        time.sleep(0.01)


def test_which_envoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "envoy"
    binary.write_text("")
    with pytest.raises(SettingsError, match="envoy is not an executable"):
        envoy_process.find({"ENVOY": str(binary)})
    binary.chmod(0o755)
    assert envoy_process.find({"ENVOY": str(binary)}) == binary
    monkeypatch.setenv("PATH", str(tmp_path))
    assert envoy_process.find({}) == binary
    binary.unlink()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(SettingsError, match=r"no envoy binary.*`make setup` installs one"):
        envoy_process.find({})
