"""What a scenario is: what the client sends, what the app does, what the configuration says, and where it is run.

Every scenario has a host name, a virtual host, clusters and apps of its own, so that scenarios share no connection
pool and may run at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.differential.wire import Request, Response, Send, Step

Json = dict[str, Any]
CLIENT, SERVER, PAIR = "client", "server", "pair"
"""Where: client → client sidecar → app; client → server sidecar → app; or through both with mutual TLS between."""

HTTP, SNIFFED, REGISTRY_ONLY, STRICT, TCP = "http", "sniffed", "registry_only", "strict", "tcp"
"""Which listener the client talks to: a port named http, one that is sniffed, one where only known hosts may be reached,
one that takes mutual TLS alone, or opaque TCP."""

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-app: yes\r\n\r\nok"


def get(
    path: str = "/", *headers: str, method: str = "GET", body: bytes = b"", version: str = "1.1"
) -> bytes:
    """The bytes of one request for the scenario's own host."""
    lines = [f"{method} {path} HTTP/{version}", "host: {host}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answer(body: bytes = b"ok", *headers: str, status: str = "200 OK") -> bytes:
    """The bytes of one answer with a content-length."""
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@dataclass(frozen=True)
class App:
    """What the app does on its first, second … connection; the last entry repeats.

    `forever` repeats the steps on one connection, as a normal server does. With `by_request` the entries are for the
    first, second … request on any connection, each without its leading `Request()`.
    """

    connections: tuple[tuple[Step, ...], ...] = ((Request(), Send(OK)),)
    forever: bool = True
    by_request: bool = False


def app(*steps: Step) -> App:
    """An app that does these steps once per connection."""
    return App((steps,), forever=False)


def by_request(*turns: tuple[Step, ...]) -> App:
    """An app that does the first turn on its first request, and so on, over all its connections."""
    return App(turns, by_request=True)


def serving(data: bytes) -> App:
    """An app that answers every request with these bytes."""
    return App(((Request(), Send(data)),))


@dataclass(frozen=True)
class Names:
    """The names of one placed scenario, for those that write their own routes."""

    host: str
    cluster: str

    def subset(self, name: str) -> str:
        """The cluster of a subset."""
        head, _, host = self.cluster.rpartition("|")
        return f"{head[: head.rindex('|')]}|{name}|{host}"


@dataclass(frozen=True)
class Scenario:
    """One case. `routes` replaces Istio's default route; `action` overlays the default route's action.

    `endpoints` names apps, or `refused` for a port where nothing listens. `ignore` lists header names that differ by
    chance. `distil` reduces an observation to what must agree, where the rest is random.
    """

    name: str
    client: tuple[Step, ...]
    at: tuple[str, ...] = (CLIENT, SERVER, PAIR)
    listener: str = HTTP
    tls: str = ""
    apps: dict[str, App] = field(default_factory=lambda: {"a": App()})
    endpoints: tuple[str, ...] = ("a",)
    subsets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    action: Json = field(default_factory=dict)
    route: Json = field(default_factory=dict)
    virtual_host: Json = field(default_factory=dict)
    routes: Callable[[Names], list[Json]] | None = None
    ignore: tuple[str, ...] = ()
    distil: Callable[[Json], Json] | None = None


def without(*keys: str) -> Callable[[Json], Json]:
    """Leaves out parts of an observation (`client`, `end`, `log`, `apps`) that are chance in a scenario."""
    return lambda observation: {key: of for key, of in observation.items() if key not in keys}


def exchange(
    name: str, request: bytes, app: App | None = None, *, method: str = "GET", **more: Any
) -> Scenario:
    """One request, one answer."""
    apps = {} if app is None else {"apps": {"a": app}}
    return Scenario(name, (Send(request), Response(method)), **apps, **more)
