"""The version the pages tell is the distribution's."""

from __future__ import annotations

from importlib import metadata

from proxy.admin import server_pages


def test_version() -> None:
    assert metadata.version("glassmesh") == server_pages.VERSION
    assert len(server_pages.version().split("/")) == 5
