"""Admin pages about the process itself: `/ready`, `/server_info`, `/memory`, `/logging`, `/init_dump`.

Reference: envoy.admin.v3.ServerInfo and Memory; Envoy source/server/admin/{server_info,logs}_handler.cc.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from proxy import clock
from proxy.admin.http_server import JSON, Request, Response
from proxy.observability import logging

if TYPE_CHECKING:
    from proxy.admin.pages import Admin

LIVE, DRAINING, PRE_INITIALIZING, INITIALIZING = range(4)
STATES = ("LIVE", "DRAINING", "PRE_INITIALIZING", "INITIALIZING")

_USAGE = """
usage: /logging?<name>=<level> (change single level)
usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
usage: /logging?level=<level> (change all levels)
levels: trace debug info warning error critical off 
"""  # noqa: W291 - the blank at the end is Envoy's


@dataclass(slots=True)
class ServerState:
    """Where this sidecar is in its life. `started` is seconds of the monotonic clock."""

    node: dict[str, Any]
    number: int = PRE_INITIALIZING
    started: float = field(default_factory=clock.monotonic)
    failing_health_checks: bool = False
    # Names of what is still awaited before the server is live.
    awaited: Callable[[], list[str]] = list

    @property
    def name(self) -> str:
        return STATES[self.shown]

    @property
    def shown(self) -> int:
        """The state as pages tell it: failing health checks by hand shows as draining."""
        return DRAINING if self.failing_health_checks and self.number == LIVE else self.number


# The distribution's; asking its metadata at run time costs 1 MB of imports.
VERSION = "0.1.0"


def version() -> str:
    """`COMMIT/VERSION/STATUS/TYPE/TLS`, the five parts Envoy prints."""
    return f"0/{VERSION}/Clean/RELEASE/OpenSSL"


def ready(admin: Admin, _request: Request) -> Response:
    return Response(admin.state.name + "\n", 200 if admin.state.shown == LIVE else 503)


def server_info(admin: Admin, _request: Request) -> Response:
    uptime = f"{int(clock.monotonic() - admin.state.started)}s"
    info = {
        "version": version(),
        "state": admin.state.name,
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "hot_restart_initializing": False,
        "command_line_options": admin.options,
        "node": admin.state.node,
    }
    return _json(info)


def memory(admin: Admin, _request: Request) -> Response:
    resident = admin.memory()
    numbers = {
        "allocated": resident,
        "heap_size": resident,
        "pageheap_unmapped": 0,
        "pageheap_free": 0,
        "total_thread_cache": 0,
        "total_physical_bytes": resident,
    }
    return _json({name: str(number) for name, number in numbers.items()})


def resident_bytes() -> int:
    """This process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def init_dump(admin: Admin, _request: Request) -> Response:
    awaited = admin.state.awaited()
    if not awaited:
        return _json({})
    return _json({"unready_targets_dumps": [{"name": "init manager Server", "target_names": awaited}]})


def logging_page(_admin: Admin, request: Request) -> Response:
    try:
        _change_levels(request.query)
    except KeyError as error:
        problem = f"error: {error.args[0]}\n"
        return Response(problem + _USAGE + _active_loggers() + "\n", 400)
    return Response(_active_loggers() + "\n")


def _change_levels(query: dict[str, str]) -> None:
    if len(query) > 1:
        raise KeyError("invalid parameter count")
    for name, value in query.items():
        if name == "paths":
            changes = [tuple(part.partition(":")[::2]) for part in value.split(",")]
        elif name == "level":
            changes = [(each, value) for each in logging.LOGGERS]
        else:
            changes = [(name, value)]
        for component, level in changes:
            if level not in logging.LEVELS:
                raise KeyError("unknown logger level")
            if component not in logging.LOGGERS:
                raise KeyError("unknown logger name")
        for component, level in changes:
            logging.set_level(level, component)


def _active_loggers() -> str:
    return "active loggers:\n" + "".join(f"  {name}: {logging.level(name)}\n" for name in logging.LOGGERS)


def _json(value: object) -> Response:
    return Response(json.dumps(value, indent=1) + "\n", content_type=JSON)
