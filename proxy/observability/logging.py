"""The sidecar's own log: Envoy's levels, Envoy's line, one logger per component, on standard error.

`LOGGERS` is the explicit list that admin `/logging` shows and changes. Knows nothing of the access log.
Reference: Envoy "--log-level", "--log-format", admin `/logging`.
"""

from __future__ import annotations

import logging
import os
import sys
import time

TRACE, OFF = 5, 100
LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": OFF,
}
LOGGERS = (
    "admin", "agent", "ca", "config", "conn_handler", "connection", "filter", "health_checker", "http", "main",
    "pool", "router", "tls", "tracing", "upstream", "xds",
)  # fmt: skip

_NAMES = {number: name for name, number in LEVELS.items()}
_ROOT = "proxy"


def logger(component: str) -> logging.Logger:
    """The logger of one of `LOGGERS`."""
    assert component in LOGGERS, component
    return logging.getLogger(f"{_ROOT}.{component}")


def level(component: str) -> str:
    """The level name a component logs at."""
    return _NAMES.get(logger(component).getEffectiveLevel(), "info")


def set_level(name: str, component: str | None = None) -> None:
    """Set one component's level, or all of them; an unknown level raises `KeyError`."""
    number = LEVELS[name]
    for each in (component,) if component else LOGGERS:
        logger(each).setLevel(number)


def start(level_name: str = "info") -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.propagate = False
    set_level(level_name)
    # asyncio reports its own trouble (a callback that raised) through the same line.
    logging.getLogger("asyncio").handlers[:] = [handler]


class _Line(logging.Formatter):
    """`[2026-01-31 12:00:00.000][PID][warning][xds] [client.py:42] text`"""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        component = record.name.removeprefix(_ROOT + ".")
        return (
            f"[{seconds}.{int(record.msecs):03d}][{os.getpid()}][{_NAMES.get(record.levelno, 'info')}]"
            f"[{component}] [{record.filename}:{record.lineno}] {text}"
        )
