"""A small load: N requests over C connections at once, and how many of each answer came. `python -m demo_apps.load -c 3 -n 30 URL`.

What fortio's first lines tell, enough to see a circuit breaker or a load balancer work: shares of status codes and, with
`--field NAME`, of what the JSON answers say there. Each connection sends its next request when its answer is complete and
is kept as long as the server keeps it. It must not know of any mesh.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from demo_apps.http_client import Answer, Connection, Url, parse_url
from demo_apps.http_message import Headers, MessageError

# Seconds a connection may be silent. Longer than any delay that a walk-through injects.
TIMEOUT = 30.0


@dataclass(slots=True)
class Tally:
    """What came back: by status code (`error` for none), by the chosen field, and each request's seconds."""

    codes: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        total = sum(self.codes.values())
        lines = [f"Code {code} : {count} ({count / total:.1%})" for code, count in sorted(self.codes.items())]
        lines += [f"{value} : {count} ({count / total:.1%})" for value, count in sorted(self.fields.items())]
        average = sum(self.seconds) / len(self.seconds) * 1000 if self.seconds else 0.0
        return "\n".join([*lines, f"All done {total} calls, {average:.1f} ms avg"])


class Load:
    """Shares `count` requests among connections; `run` returns when the last one is answered."""

    def __init__(self, url: Url, count: int, headers: Headers, report: str = "") -> None:
        self._url = url
        self._headers = [
            ("host", url.authority),
            ("user-agent", "glassmesh-load"),
            ("accept", "*/*"),
            *headers,
        ]
        self._report = report
        self._turns: Iterator[int] = iter(range(count))
        self._lock = threading.Lock()
        self.tally = Tally()

    def run(self, connections: int) -> Tally:
        threads = [threading.Thread(target=self._lane) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.tally

    def _more(self) -> bool:
        with self._lock:
            return next(self._turns, None) is not None

    def _lane(self) -> None:
        connection: Connection | None = None
        while self._more():
            began = time.monotonic()
            answer = None
            with contextlib.suppress(OSError, MessageError):
                if connection is None or not connection.reusable:
                    if connection is not None:
                        connection.close()
                    connection = Connection(self._url.host, self._url.port, timeout=TIMEOUT)
                answer = connection.request("GET", self._url.target, self._headers)
            if answer is None and connection is not None:
                connection.close()
                connection = None
            self._count(answer, time.monotonic() - began)
        if connection is not None:
            connection.close()

    def _count(self, answer: Answer | None, seconds: float) -> None:
        with self._lock:
            self.tally.codes["error" if answer is None else str(answer.status)] += 1
            self.tally.seconds.append(seconds)
            if self._report and answer is not None:
                self.tally.fields[said(answer, self._report)] += 1


def said(answer: Answer, name: str) -> str:
    """The value of a JSON answer's field; `-` where there is none."""
    try:
        return str(answer.json()[name])
    except (ValueError, KeyError, TypeError):
        return "-"


def main(arguments: list[str] | None = None) -> int:
    """Exit status 1 when a request got no answer at all."""
    flags = argparse.ArgumentParser(prog="demo_apps.load", allow_abbrev=False)
    flags.add_argument("url", metavar="URL")
    flags.add_argument("-c", type=int, default=1, metavar="C", help="connections at once (%(default)s)")
    flags.add_argument("-n", type=int, default=20, metavar="N", help="requests in all (%(default)s)")
    flags.add_argument("-H", "--header", action="append", default=[], metavar="NAME:VALUE")
    flags.add_argument(
        "--field", default="", metavar="NAME", help="count what JSON answers say in this field"
    )
    options = flags.parse_args(arguments)
    headers = [(name.strip(), value.strip()) for name, _, value in (h.partition(":") for h in options.header)]
    try:
        url = parse_url(options.url)
    except ValueError as error:
        flags.error(str(error))
    if url.scheme != "http":
        flags.error("http only")
    tally = Load(url, options.n, headers, options.field).run(options.c)
    print(tally)
    return int("error" in tally.codes)


if __name__ == "__main__":
    sys.exit(main())
