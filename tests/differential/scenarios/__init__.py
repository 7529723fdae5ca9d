"""All scenarios, by what they are about. A new file adds a line here."""

from __future__ import annotations

from tests.differential.scenario import Scenario
from tests.differential.scenarios import connections, exchanges, malformed, routing, upstream_failures

SCENARIOS: list[Scenario] = [
    *exchanges.SCENARIOS,
    *malformed.SCENARIOS,
    *routing.SCENARIOS,
    *upstream_failures.SCENARIOS,
    *connections.SCENARIOS,
]
