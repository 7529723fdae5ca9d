"""Time as the data path uses it: one monotonic clock for durations and deadlines, the wall clock for logs.

The only place of the sidecar's data path that asks the operating system for the time; decisions take `now` as an
argument. The `date` header changes once a second, so its bytes are kept.
"""

from __future__ import annotations

import time
from typing import Final

monotonic = time.monotonic
wall = time.time


class HttpDate:
    """The value of the `date` header, rendered once per second."""

    __slots__ = ("_second", "_value")

    def __init__(self) -> None:
        self._second = -1
        self._value = b""

    def value(self, wall_now: float) -> bytes:
        second = int(wall_now)
        if second != self._second:
            self._second = second
            # The process stays in the C locale, where strftime's names are HTTP's; email.utils costs 1 MB.
            text = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second))
            self._value = text.encode("ascii")
        return self._value


http_date: Final = HttpDate()
