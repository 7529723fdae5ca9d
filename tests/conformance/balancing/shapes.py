"""Clusters of every shape that matters to load balancing: weights, health, localities, priorities."""

from __future__ import annotations

from tests.conformance.balancing.clusters import BY_LOCALITY, PANIC_OFF, Json, common

OK, BAD, MEH = "HEALTHY", "UNHEALTHY", "DEGRADED"
ALL = {"hosts": [0, 1, 2, 3, 4, 5]}
WEIGHTED = {**ALL, "weights": [1, 5, 2, 7, 1, 3]}
ZONES: list[Json] = [
    {"hosts": [0, 1], "zone": "b", "weight": 3},
    {"hosts": [2, 3], "zone": "a", "weight": 1, "weights": [2, 1]},
    {"hosts": [4, 5], "zone": "c", "weight": 6},
]
# name: (groups, more fields of the cluster)
SHAPES: dict[str, tuple[list[Json], Json]] = {
    "one": ([{"hosts": [0]}], {}),
    "two": ([{"hosts": [1, 0]}], {}),
    "six": ([ALL], {}),
    "other-order": ([{"hosts": [5, 2, 0, 1, 4, 3]}], {}),
    "weighted": ([WEIGHTED], {}),
    "heavy": ([{"hosts": [0, 1, 2], "weights": [1, 100, 10]}], {}),
    "keyed": ([{**ALL, "keys": ["a", "b", "c", "d", "e", ""]}], {}),
    "named": ([{"hosts": [0, 1, 2], "keys": ["a", "", "b"]}], {}),
    "unhealthy": ([{**ALL, "health": [OK, BAD, OK, "DRAINING", "TIMEOUT", OK]}], common(PANIC_OFF)),
    "degraded": ([{**ALL, "health": [OK, MEH, OK, MEH, OK, OK]}], common(PANIC_OFF)),
    "all-degraded": ([{"hosts": [0, 1, 2], "health": [MEH, MEH, MEH]}], common(PANIC_OFF)),
    "panic": ([{**ALL, "health": [OK, BAD, BAD, BAD, BAD, OK]}], {}),
    "no-panic": ([{**ALL, "health": [OK, BAD, BAD, BAD, BAD, OK]}], common(PANIC_OFF)),
    "all-unhealthy": ([{"hosts": [0, 1], "health": [BAD, BAD]}], common(PANIC_OFF)),
    "all-unhealthy-panic": ([{"hosts": [0, 1, 2], "health": [BAD, BAD, BAD]}], {}),
    "zones": (ZONES, common(PANIC_OFF)),
    "zones-weighted": (ZONES, common(PANIC_OFF, BY_LOCALITY)),
    "zones-unweighted": ([{"hosts": [0, 1], "zone": "a"}, {"hosts": [2], "zone": "b"}], common(BY_LOCALITY)),
    "zones-one-weight": (
        [{"hosts": [0, 1], "zone": "a"}, {"hosts": [2, 3], "zone": "b", "weight": 1}],
        common(BY_LOCALITY),
    ),
    "zones-unhealthy": (
        [
            {"hosts": [0, 1], "zone": "a", "weight": 5, "health": [BAD, OK]},
            {"hosts": [2, 3], "zone": "b", "weight": 2},
        ],
        common(PANIC_OFF, BY_LOCALITY),
    ),
    "priorities": ([{"hosts": [0, 1, 2]}, {"hosts": [3, 4, 5], "priority": 1}], {}),
    "spill": (
        [{"hosts": [0, 1, 2], "health": [OK, BAD, BAD]}, {"hosts": [3, 4, 5], "priority": 1}],
        common(PANIC_OFF),
    ),
    "spill-far": (
        [
            {"hosts": [0, 1], "health": [BAD, BAD]},
            {"hosts": [2, 3, 4], "health": [OK, BAD, BAD], "priority": 1},
            {"hosts": [5], "priority": 2},
        ],
        common(PANIC_OFF),
    ),
    "spill-short": (
        [
            {"hosts": [0, 1, 2], "health": [OK, BAD, BAD]},
            {"hosts": [3, 4, 5], "health": [BAD, OK, BAD], "priority": 1},
        ],
        {**common(PANIC_OFF), "overprovisioning": 100},
    ),
    "first-priority-empty": ([{"hosts": [0, 1], "priority": 1}], common(PANIC_OFF)),
    "all-panic": (
        [
            {"hosts": [0, 1, 2], "health": [OK, BAD, BAD]},
            {"hosts": [3, 4, 5, 6, 7, 8, 9], "health": [BAD] * 7, "priority": 1},
        ],
        {},
    ),
}
