"""The admin interface of 15000: which path does what, in Envoy's words.

`COMMANDS` is the explicit list; it is also the text of `/help` and of a 404. A command that changes something takes POST only.
Decides nothing about the sidecar: it asks the `Admin` it was built with. Reference: Envoy "Administration interface".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy import clock
from proxy.admin import certs, clusters, config_dump, server_pages, stats_page
from proxy.admin.http_server import JSON, Request, Response
from proxy.observability.stats import StatsStore
from proxy.tls.secrets import SecretStore

NO_CACHE = (("cache-control", "no-cache, max-age=0"), ("x-content-type-options", "nosniff"))


@dataclass(frozen=True, slots=True)
class Admin:
    """What the pages ask. Each callable is cheap and safe at any time."""

    stats: StatsStore
    secrets: SecretStore
    sources: Callable[[], config_dump.Sources]
    clusters: Callable[[], Iterable[clusters.ClusterStatus]]
    listeners: Callable[[], Iterable[tuple[str, str, int]]]  # name, address, port as bound
    state: server_pages.ServerState
    quit: Callable[[], None]
    drain: Callable[[bool, bool], None]  # inbound only, graceful
    memory: Callable[[], int] = server_pages.resident_bytes
    options: dict[str, Any] = field(default_factory=dict)  # command line, as /server_info shows it


Page = Callable[[Admin, Request], Response]


@dataclass(frozen=True, slots=True)
class Command:
    path: str
    text: str
    page: Page
    changes: bool = False
    parameters: tuple[tuple[str, str], ...] = ()


def answer(admin: Admin, request: Request) -> Response:
    """The response to one admin request."""
    command = _BY_PATH.get(request.path)
    if command is None:
        return Response("invalid path. " + _help_text(), 404)
    if command.changes and request.method != "POST":
        return Response(f"Method {request.method} not allowed, POST required.", 405)
    return command.page(admin, request)


def _help_text() -> str:
    lines = ["admin commands are:"]
    for command in COMMANDS:
        lines.append(f"  {command.path}{' (POST)' if command.changes else ''}: {command.text}")
        lines += [f"      {name}: {text}" for name, text in command.parameters]
    return "\n".join([*lines, ""])


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _home(_admin: Admin, _request: Request) -> Response:
    rows = []
    for command in COMMANDS[1:]:
        form = f"<form action='{command.path[1:]}' method='post'><button>{command.path[1:]}</button></form>"
        link = form if command.changes else f"<a href='{command.path[1:]}'>{command.path[1:]}</a>"
        rows.append(f"<tr><td>{link}</td><td>{_escape(command.text)}</td></tr>")
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>Envoy Admin</title></head><body>\n"
        "<table class='home-table'>\n<thead><th>Command</th><th>Description</th></thead>\n<tbody>\n"
        + "\n".join(rows)
        + "\n</tbody></table></body></html>\n"
    )
    return Response(page, content_type="text/html; charset=UTF-8")


def _listeners(admin: Admin, request: Request) -> Response:
    bound = list(admin.listeners())
    if request.query.get("format") == "json":
        statuses = [
            {"name": name, "local_address": {"socket_address": {"address": host, "port_value": port}}}
            for name, host, port in bound
        ]
        return Response(json.dumps({"listener_statuses": statuses}, indent=1) + "\n", content_type=JSON)
    return Response("".join(f"{name}::{host}:{port}\n" for name, host, port in bound))


def _drain(admin: Admin, request: Request) -> Response:
    admin.drain("inboundonly" in request.query, "graceful" in request.query)
    return Response("OK\n")


def _quit(admin: Admin, _request: Request) -> Response:
    admin.quit()
    return Response("OK\n")


def _reset_counters(admin: Admin, _request: Request) -> Response:
    admin.stats.reset_counters()
    return Response("OK\n")


def _health(failing: bool) -> Page:
    def page(admin: Admin, _request: Request) -> Response:
        admin.state.failing_health_checks = failing
        return Response("OK\n")

    return page


_USED = ("usedonly", "Only include stats that have been written by system since restart")
_FILTER = ("filter", "Regular expression (Google re2) for filtering stats")
_INVERT = ("invert_filter", "Invert the filter regex")

COMMANDS: tuple[Command, ...] = (
    Command("/", "Admin home page", _home),
    Command("/certs", "print certs on machine", lambda a, _: certs.render(a.secrets, clock.wall())),
    Command(
        "/clusters",
        "upstream cluster status",
        lambda a, r: clusters.render(a.clusters(), r.query),
        parameters=(("filter", "Regular expression (Google re2) for filtering clusters by name"),),
    ),
    Command(
        "/config_dump",
        "dump current Envoy configs",
        lambda a, r: config_dump.render(a.sources(), r.query),
        parameters=(
            ("resource", "The resource to dump"),
            ("mask", "The mask to apply. When both resource and mask are specified, the mask is applied to every element in the desired repeated field so that only a subset of fields are returned. The mask is parsed as a Protobuf::FieldMask"),
            ("name_regex", "Dump only the currently loaded configurations whose names match the specified regex. Can be used with both resource and mask query parameters."),
            ("include_eds", "Dump currently loaded configuration including EDS. See the response definition for more information"),
        ),
    ),
    Command(
        "/drain_listeners",
        "drain listeners",
        _drain,
        changes=True,
        parameters=(
            ("graceful", "When draining listeners, enter a graceful drain period prior to closing listeners. This behaviour and duration is configurable via server options or CLI"),
            ("skip_exit", "When draining listeners, drain the connections but never stop the listeners. The graceful parameter has no effect when this is set, since the drain period only delays stopping the listeners"),
            ("inboundonly", "Drains all inbound listeners. traffic_direction field in envoy_v3_api_msg_config.listener.v3.Listener is used to determine whether a listener is inbound or outbound."),
        ),
    ),
    Command("/healthcheck/fail", "cause the server to fail health checks", _health(True), changes=True),
    Command("/healthcheck/ok", "cause the server to pass health checks", _health(False), changes=True),
    Command("/help", "print out list of admin commands", lambda _a, _r: Response(_help_text())),
    Command("/hot_restart_version", "print the hot restart compatibility version", lambda _a, _r: Response("disabled")),
    Command("/init_dump", "dump current Envoy init manager information (experimental)", server_pages.init_dump),
    Command(
        "/listeners",
        "print listener info",
        _listeners,
        parameters=(("format", "File format to use; One of (text, json)"),),
    ),
    Command(
        "/logging",
        "query/change logging levels",
        server_pages.logging_page,
        changes=True,
        parameters=(
            ("paths", "Change multiple logging levels by setting to <logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>."),
            ("level", "desired logging level, this will change all loggers's level; One of (, trace, debug, info, warning, error, critical, off)"),
        ),
    ),
    Command("/memory", "print current allocation/heap usage", server_pages.memory),
    Command("/quitquitquit", "exit the server", _quit, changes=True),
    Command("/ready", "print server state, return 200 if LIVE, otherwise return 503", server_pages.ready),
    Command("/reset_counters", "reset all counters to zero", _reset_counters, changes=True),
    Command("/server_info", "print server version/status information", server_pages.server_info),
    Command(
        "/stats",
        "print server stats",
        lambda a, r: stats_page.render(a.stats, r.query),
        parameters=(
            _USED,
            _FILTER,
            _INVERT,
            ("format", "Format to use; One of (html, active-html, text, json)"),
            ("type", "Stat types to include.; One of (All, Counters, Histograms, Gauges, TextReadouts)"),
            ("histogram_buckets", "Histogram bucket display mode; One of (cumulative, disjoint, detailed, summary)"),
        ),
    ),
    Command(
        "/stats/prometheus",
        "print server stats in prometheus format",
        lambda a, r: stats_page.render_prometheus(a.stats, r.query),
        parameters=(_USED, _FILTER, _INVERT),
    ),
)  # fmt: skip

_BY_PATH = {command.path: command for command in COMMANDS}
