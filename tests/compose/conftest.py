"""One compose mesh for all tests here; nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.compose.mesh import ComposeMesh, why_not


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeMesh]:
    if reason := why_not():
        pytest.skip(reason)
    started = ComposeMesh(tmp_path_factory.mktemp("compose"))
    try:
        started.compose("up", "-d", "--build", "--wait", "--wait-timeout", "120")
        yield started
    except AssertionError:
        print(started.compose("ps", "-a", check=False))
        print(started.compose("logs", "--tail", "40", check=False))
        raise
    finally:
        started.compose("down", "-v", "--remove-orphans")
        started.remove_images()
        assert started.left() == []
        assert not started.kubeconfig.exists()
