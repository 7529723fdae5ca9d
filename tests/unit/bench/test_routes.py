"""The route bench: every table is one that finds a route, at every size."""

from __future__ import annotations

import pytest

from bench import routes


@pytest.mark.parametrize("name", routes.TABLES)
def test_every_table_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_ROUNDS", 1)
    monkeypatch.setattr(routes, "_CALLS", 1)
    assert routes.microseconds(routes.TABLES[name](10)) > 0
