"""Certificates for the sidecar's tests: one CA per run, so that keys are made once."""

from __future__ import annotations

import pytest

from tests.unit.proxy.mesh_ca import MeshCa


@pytest.fixture(scope="session")
def mesh_ca() -> MeshCa:
    return MeshCa()
