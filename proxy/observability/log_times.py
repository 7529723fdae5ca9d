"""Points in time as access logs print them: Envoy's own form, and what a configuration asks for.

Pure but for the local time zone. Envoy's form is made anew once a second.
Reference: Envoy source/common/common/utility.cc `DateFormatter`; "Access logging", %START_TIME%.
"""

from __future__ import annotations

import functools
import re
import time
from typing import Final


class _DefaultTime:
    """`2026-01-31T12:00:00.000Z`. Requests of one second share the text up to the second; `_second` is that second in ms."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1000
        self._text = ""

    def of(self, seconds: float) -> str:
        """Of the wall clock's `seconds`, in UTC."""
        milliseconds = int(seconds * 1000)
        since = milliseconds - self._second
        if not 0 <= since < 1000:
            since = milliseconds % 1000
            self._second = milliseconds - since
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second // 1000))
        return self._text + _MILLISECONDS[since]


_MILLISECONDS: Final = [f".{number:03d}Z" for number in range(1000)]
DEFAULT_TIME: Final = _DefaultTime()


def time_as(seconds: float, text: str) -> str:
    """As strftime with `text` in UTC; `%3f` are three digits of the fraction of a second, `%f` nine."""
    return _formatted(seconds, text, time.gmtime(seconds))


def local_time_as(seconds: float, text: str) -> str:
    """`time_as`, in the time zone of this process."""
    return _formatted(seconds, text, time.localtime(seconds))


@functools.cache
def _pieces(text: str) -> tuple[list[str], list[int]]:
    """Splits at the fractions of a second, which strftime does not know: the texts between, and their digits."""
    pieces = re.split(r"%(\d?)f", text)
    return pieces[0::2], [int(digits or 9) for digits in pieces[1::2]]


def _formatted(seconds: float, text: str, moment: time.struct_time) -> str:
    whole, digits = _pieces(text)
    fraction = f"{int(seconds % 1 * 1e9):09d}"
    shown = _strftime(whole[0], moment, seconds)
    for width, piece in zip(digits, whole[1:], strict=True):
        shown += fraction[:width] + _strftime(piece, moment, seconds)
    return shown


def _strftime(text: str, moment: time.struct_time, seconds: float) -> str:
    return time.strftime(text.replace("%s", str(int(seconds))), moment) if text else ""
