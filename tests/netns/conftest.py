"""Meshes for tests, and the check that none of them leaves anything on the host."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.mesh import Mesh


@pytest.fixture(autouse=True, scope="session")
def _tools() -> None:
    """Root and the network tools, or every test here is skipped and says why."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if missing := [tool for tool in ("ip", "iptables", "unshare", "nsenter") if shutil.which(tool) is None]:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """One mesh for all tests that do not end it. Namespace `plain` has no sidecars."""
    running = Mesh(Path(tmp_path_factory.mktemp("m")))
    running.up("--back-off", "0.3")
    try:
        running.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "plain"}})
        yield running
    finally:
        running.down()
        running.assert_nothing_left()
