"""From what one side saw to what is compared: chance made equal, the case's `observe` applied.

Two values are special: `Took` is the same as another within a coarse band, `Share` within what chance allows for its number of samples.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from tests.differential.case.model import CLIENT_PARTS, Json, Observe
from tests.differential.case.place import Placed
from tests.differential.compare import NUMBER, walk

SLACK_S, SLACK_SHARE = 0.15, 0.25
DEVIATIONS = 4.5
"""A chance of 7 in a million that two samples of the same distribution look different."""
STATS = (
    "upstream_rq_total",
    "upstream_rq_completed",
    "upstream_rq_[1-5]xx",
    "upstream_rq_[1-5][0-9][0-9]",
    "upstream_rq_retry*",
    "retry_or_shadow_abandoned",
    "upstream_rq_timeout",
    "upstream_rq_per_try_timeout",
    "upstream_rq_max_duration_reached",
    "upstream_rq_pending_overflow",
    "upstream_rq_pending_active",
    "upstream_rq_active",
    "upstream_rq_rx_reset",
    "upstream_rq_tx_reset",
    "upstream_rq_cancelled",
    "upstream_cx_overflow",
    "upstream_cx_connect_fail",
    "upstream_cx_connect_timeout",
    "upstream_cx_none_healthy",
    "lb_healthy_panic",
    "lb_subsets_*",
    "outlier_detection.ejections_enforced_total",
    "outlier_detection.ejections_active",
)
CHANCE_IN_LOG = ("direct",)


class Took(float):
    """Seconds; equal to any that differs by less than 0.15 s plus a quarter of the longer. Not transitive."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, float):
            return NotImplemented
        return abs(float(self) - float(other)) <= SLACK_S + SLACK_SHARE * max(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = float.__hash__

    def __repr__(self) -> str:
        return f"{float(self):.2f} s"


class Share:
    """`count` of `total` samples; equal to another when chance explains the difference."""

    def __init__(self, count: int, total: int) -> None:
        self.count, self.total = count, total

    def __eq__(self, other: object) -> bool:
        count, total = (other.count, other.total) if isinstance(other, Share) else (0, self.total)
        if not isinstance(other, Share) and other is not None:
            return NotImplemented
        if not total or not self.total:
            return total == self.total
        pooled = (self.count + count) / (self.total + total)
        deviation = math.sqrt(pooled * (1 - pooled) * (1 / self.total + 1 / total))
        return abs(self.count / self.total - count / total) <= DEVIATIONS * deviation + 0.5 / total

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.count} of {self.total}"


def comparable(placed: Placed, seen: Json, symbols: dict[int, str]) -> Json:
    """What must agree with the other side's."""
    observe = placed.case.observe
    parts = {part: of for part, of in seen.items() if part != "stats"}
    named = walk(parts, tuple(name.lower() for name in observe.ignore), symbols)
    if observe.random:
        return _shares(placed, named)
    found = _sums(placed, named) if observe.sums else _in_full(observe, named)
    return found | {
        "stats": stats_of(placed, seen["stats"], [*STATS, *observe.stats], observe.without_stats),
        "readings": seen["readings"],
    }


def _in_full(observe: Observe, seen: Json) -> Json:
    client = [_answer(observe, answer) for answer in seen["client"]]
    found: Json = {
        "client": client if observe.client else [],
        "log": {role: _lines(observe, lines) for role, lines in seen["log"].items()},
        "upstream": {pod: _requests(observe, requests) for pod, requests in seen["upstream"].items()},
    }
    if "connections" in observe.upstream:
        found["connections"] = seen["connections"]
    return found


def _answer(observe: Observe, answer: Json) -> Json:
    keys = {"status": "line"}
    found = {
        part: answer[keys.get(part, part)]
        for part in CLIENT_PARTS
        if part in observe.client and keys.get(part, part) in answer
    }
    if "took" in found:
        found["took"] = Took(found["took"]) if observe.timing else "-"
    return found


def _lines(observe: Observe, lines: list[Json]) -> list[Json]:
    found = []
    for line in lines:
        wanted = observe.log if observe.log is not None else [key for key in line if key not in CHANCE_IN_LOG]
        found.append(
            {key: NUMBER.sub("MS", line[key]) if key == "service_time" else line[key] for key in wanted}
        )
    return sorted(found, key=str) if observe.log != [] else []


def _requests(observe: Observe, requests: list[Json]) -> Any:
    if not observe.upstream:
        return "-"
    parts = [*observe.upstream, "cut", "trailers"]
    found = [{part: one[part] for part in parts if part in one} for one in requests]
    if "line" not in observe.upstream:
        return len(found)
    return found if "order" in observe.upstream else sorted(found, key=str)


def _counts(placed: Placed, seen: Json) -> dict[str, Counter[str]]:
    return {
        "statuses": Counter(str(answer.get("line", answer.get("failure"))) for answer in seen["client"]),
        "flags": Counter(f"{role} {line['flags']}" for role, lines in seen["log"].items() for line in lines),
        "upstream": Counter({pod.name: len(seen["upstream"][pod.name]) for pod in placed.pods}),
    }


def _sums(placed: Placed, seen: Json) -> Json:
    return {what: dict(counter) for what, counter in _counts(placed, seen).items()}


def _shares(placed: Placed, seen: Json) -> Json:
    return {
        what: {name: Share(count, counter.total()) for name, count in counter.items()}
        for what, counter in _counts(placed, seen).items()
    }


def stats_of(
    placed: Placed, stats: SideStats, wanted: Iterable[str], without: Iterable[str] = ()
) -> dict[str, int]:
    """Stats of the case's clusters by `service|port|subset|stat` and of full names, those that are not 0."""
    patterns = [pattern for pattern in wanted if not pattern.startswith(":")]
    full = [pattern[1:] for pattern in wanted if pattern.startswith(":")]
    skipped = list(without)
    found = {}
    for name, value in stats.of(placed):
        own = name.rpartition("|")[2]
        if _any(own, patterns) and not _any(own, skipped):
            found[name] = value
    if full:
        found |= {name: value for name, value in stats.others.items() if _any(name, full)}
    return found


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_CLUSTER = re.compile(
    r"cluster\.(outbound|inbound)\|(\d+)\|([^|]*)\|(?:([\w-]+)\.[\w-]+\.svc\.cluster\.local)?[.;]+(.*)"
)


class SideStats:
    """All stats of a group's sidecars that are not 0, sorted by whose they are."""

    def __init__(self, stats: Iterable[tuple[str, int]]) -> None:
        self.others: dict[str, int] = {}
        self._by_owner: dict[str, dict[str, int]] = defaultdict(dict)
        for name, value in stats:
            if not value:
                continue
            found = _CLUSTER.fullmatch(name)
            if found is None:
                self.others[name] = value
                continue
            direction, port, subset, host, stat = found.groups()
            if direction == "inbound":
                self._by_owner[f"inbound {port}"][f"inbound||{stat}"] = value
            else:
                self._by_owner[host][f"{host}|{port}|{subset}|{stat}"] = value

    def of(self, placed: Placed) -> Iterator[tuple[str, int]]:
        """Stats of the case's clusters."""
        owners = [*placed.services]
        if placed.case.at != "client":
            owners.append(f"inbound {placed.app_port}")
        for owner in owners:
            yield from self._by_owner.get(owner, {}).items()
