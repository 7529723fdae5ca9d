"""What finding a route costs, by how many there are: `python -m bench.routes`.

One column per number of virtual hosts, or of routes in one virtual host that do not match, before one that takes everything. Nothing but
the sidecar's own matcher runs: no socket, no parser. In the last rows every route could match, so every one has to be tried.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from proxy.config.decode import ROUTE, decode
from proxy.router.matcher import RouteTable

Json = dict[str, Any]
COUNTS = (10, 100, 1_000, 10_000)
_ROUNDS, _CALLS = 7, 400
_HEADERS = [(b"user-agent", b"bench"), (b"accept", b"*/*"), (b"tenant", b"other"), (b"x-request-id", b"1")]


def _hosts(count: int) -> list[Json]:
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    return [
        {"name": f"s{n}", "domains": [f"s{n}.test", f"s{n}.test."], "routes": [route]} for n in range(count)
    ]


def _wildcards(count: int) -> list[Json]:
    return [
        *({**host, "domains": [f"*.w{n}.test"]} for n, host in enumerate(_hosts(count))),
        {**_hosts(1)[0], "domains": ["*"]},
    ]


def _one_host(match: Callable[[int], Json]) -> Callable[[int], list[Json]]:
    def hosts(count: int) -> list[Json]:
        matches = [*(match(n) for n in range(count)), {"prefix": "/"}]
        routes = [{"match": one, "direct_response": {"status": 200}} for one in matches]
        return [{"name": "v", "domains": ["*"], "routes": routes}]

    return hosts


def _header(value: Json) -> Json:
    return {"prefix": "/", "headers": [{"name": "tenant", "string_match": value}]}


TABLES: dict[str, Callable[[int], list[Json]]] = {
    "virtual hosts": _hosts,
    "virtual hosts, wildcards": _wildcards,
    "routes by exact path": _one_host(lambda n: {"path": f"/p{n}/x"}),
    "routes by prefix": _one_host(lambda n: {"prefix": f"/p{n}/"}),
    "routes by prefix, any case": _one_host(lambda n: {"prefix": f"/P{n}/", "case_sensitive": False}),
    "routes by expression": _one_host(lambda n: {"safe_regex": {"regex": f"/p{n}/[0-9]+"}}),
    "routes by exact header": _one_host(lambda n: _header({"exact": f"t{n}"})),
    "every route could match: header prefix": _one_host(lambda n: _header({"prefix": f"t{n}"})),
    "every route could match: expression": _one_host(lambda n: {"safe_regex": {"regex": f".*/p{n}"}}),
}


def microseconds(hosts: list[Json]) -> float:
    """The best of some rounds, for one look-up."""
    config = {"name": "80", "virtual_hosts": hosts, "ignore_port_in_host_matching": True}
    table = RouteTable(decode(ROUTE, "80", json.dumps(config).encode()), lambda _, route: route)
    asked: Json = {"path": b"/q/x?y=1", "method": b"GET", "scheme": b"http", "draw": 0.5}
    best = float("inf")
    calls = _CALLS if len(hosts) > 1 or len(hosts[0]["routes"]) <= 1_000 else 20
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            table.route(_HEADERS, authority=b"s9.test:80", **asked)
        best = min(best, (time.perf_counter() - began) / calls)
    return best * 1e6


def main() -> None:
    print(f"{'µs to find a route among':42}" + "".join(f"{count:>10,}" for count in COUNTS))
    for name, hosts in TABLES.items():
        counts = COUNTS if "could match" not in name else COUNTS[:3]
        print(f"{name:42}" + "".join(f"{microseconds(hosts(count)):10.2f}" for count in counts), flush=True)


if __name__ == "__main__":
    main()
