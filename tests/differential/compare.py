"""Whether two observations agree. What may differ by chance is made equal first; what may differ by choice is listed.

`ALLOWED` is the whole list of accepted differences, each with its reason; all else is a defect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.differential.scenario import Json, Scenario

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
HTTP_DATE = re.compile(r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
NUMBER = re.compile(r"^\d+$")
ADDRESS = re.compile(r"(127\.\d+\.\d+\.\d+):(\d+)")
BY_CHANCE = {
    "x-request-id": (UUID, "UUID"),
    "date": (HTTP_DATE, "DATE"),
    "x-envoy-upstream-service-time": (NUMBER, "MS"),
}


@dataclass(frozen=True)
class Difference:
    """Where two observations differ, as a path such as `client.0.headers`, and both values."""

    where: str
    envoy: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.where}: Envoy {self.envoy!r}, ours {self.ours!r}"


@dataclass(frozen=True)
class Allowed:
    """A difference we accept at paths matching `where`, when `envoy` and `ours` match the values."""

    where: str
    envoy: str
    ours: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        return bool(
            re.fullmatch(self.where, difference.where)
            and re.fullmatch(self.envoy, str(difference.envoy), re.DOTALL)
            and re.fullmatch(self.ours, str(difference.ours), re.DOTALL)
        )


ALLOWED: list[Allowed] = [
    Allowed(
        r"end|client\.\d+\.(closed|failure)",
        r"(closed: )?(eof|reset|closed)",
        r"(closed: )?(eof|reset|closed)",
        "bytes not yet read turn a close into a reset: chance, and differs between two runs of Envoy",
    ),
    Allowed(
        r"log\.\w+\.\d+\.(transport_failure|details)|client\.\d+\.body|client\.\d+\.headers",
        r".*TLS_error.*",
        r".*TLS_error.*",
        "the text of a TLS failure is the library's: BoringSSL numbers in Envoy, OpenSSL's in ours",
    ),
]


def normalised(observation: Json, scenario: Scenario, symbols: dict[int, str]) -> Json:
    """The observation with ports named, chance values replaced, and headers in an order of their own."""
    found = walk(observation, scenario.ignore, symbols)
    for lines in found["log"].values():
        for line in lines:
            line["service_time"] = NUMBER.sub("MS", line["service_time"])
        lines.sort(key=str)
    return scenario.distil(found) if scenario.distil else found


def walk(value: Any, ignore: tuple[str, ...], symbols: dict[int, str]) -> Any:
    """`value` with header lists as sorted lines and addresses named; `ignore` names headers left out."""
    if isinstance(value, dict):
        return {
            key: _headers(of, ignore, symbols)
            if key in ("headers", "trailers")
            else walk(of, ignore, symbols)
            for key, of in value.items()
        }
    if isinstance(value, list):
        return [walk(one, ignore, symbols) for one in value]
    return _named(value, symbols) if isinstance(value, str) else value


def _headers(headers: list[list[str]], ignore: tuple[str, ...], symbols: dict[int, str]) -> list[str]:
    """Sorted `name: value` lines: order between different names means nothing (RFC 9110 5.3)."""
    found = []
    for name, value in headers:
        pattern, word = BY_CHANCE.get(name.lower(), (None, ""))
        if name.lower() in ignore:
            continue
        found.append(f"{name}: {word if pattern and pattern.match(value) else _named(value, symbols)}")
    return sorted(found, key=lambda line: line.partition(":")[0])


def _named(text: str, symbols: dict[int, str]) -> str:
    def name(found: re.Match[str]) -> str:
        plain = f"{found[1]}:*"
        return symbols.get(int(found[2]), plain) if found[1] == "127.0.0.1" else plain

    return ADDRESS.sub(name, text)


def differences(envoy: Any, ours: Any, where: str = "") -> Iterator[Difference]:
    """Every leaf where the two differ; lists of unequal length differ as a whole."""
    if isinstance(envoy, dict) and isinstance(ours, dict):
        for key in sorted(envoy.keys() | ours.keys()):
            yield from differences(envoy.get(key), ours.get(key), f"{where}.{key}" if where else key)
    elif isinstance(envoy, list) and isinstance(ours, list) and _by_index(envoy, ours):
        for index, (one, other) in enumerate(zip(envoy, ours, strict=True)):
            yield from differences(one, other, f"{where}.{index}")
    elif (
        isinstance(envoy, list)
        and isinstance(ours, list)
        and all(isinstance(one, str) for one in envoy + ours)
    ):
        only_envoy = [one for one in envoy if one not in ours]
        only_ours = [one for one in ours if one not in envoy]
        same_lines = not only_envoy and not only_ours
        yield Difference(where, envoy if same_lines else only_envoy, ours if same_lines else only_ours)
    elif envoy != ours:
        yield Difference(where, envoy, ours)


def _by_index(envoy: list[Any], ours: list[Any]) -> bool:
    return len(envoy) == len(ours) and (
        envoy == ours or not all(isinstance(one, str) for one in envoy + ours)
    )


@dataclass(frozen=True)
class Verdict:
    """`same`, `allowed` (with reasons) or `different`; `differences` holds those that are not allowed."""

    name: str
    word: str
    differences: tuple[Difference, ...] = ()
    reasons: tuple[str, ...] = ()
    envoy: Json = field(default_factory=dict, repr=False)
    """What Envoy did, normalised."""


def judge(name: str, envoy: Json, ours: Json) -> Verdict:
    """Compares two normalised observations."""
    found = list(differences(envoy, ours))
    reasons = []
    rest = []
    for difference in found:
        rule = next((allowed for allowed in ALLOWED if allowed.covers(difference)), None)
        if rule is None:
            rest.append(difference)
        else:
            reasons.append(rule.reason)
    word = "different" if rest else "allowed" if reasons else "same"
    return Verdict(name, word, tuple(rest), tuple(dict.fromkeys(reasons)), envoy)
