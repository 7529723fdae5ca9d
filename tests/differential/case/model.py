"""What a case of `cases/*.yaml` may say. Shape only: names and values are checked, nothing is looked up or run.

Every model refuses keys it does not know, so that a misspelt one cannot silently observe nothing. The keys are explained in `README.md`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,57}[a-z0-9])?")
"""A case is named as a Service; longer names would leave no room for a suffix."""


def _seconds(value: object) -> float:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a duration is a number with s or ms, such as 0.3s")
    return float(found[1]) / (1000 if found[2] == "ms" else 1)


Seconds = Annotated[float, BeforeValidator(_seconds)]
Json = dict[str, Any]
Texts = dict[str, str | list[str]]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_body(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


class Body(Strict):
    """`text`, or `size` bytes."""

    text: str = ""
    size: int = 0
    chunked: bool = False

    def data(self) -> bytes:
        """What is sent; bytes that are not all the same, so that lost ones are seen."""
        if not self.size:
            return self.text.encode()
        return (b"0123456789abcdef" * (self.size // 16 + 1))[: self.size]


AnyBody = Annotated[Body, BeforeValidator(_as_body)]


class Answer(Strict):
    """One turn of an app."""

    status: int | str = 200
    headers: Texts = {}
    body: AnyBody | None = None
    trailers: Texts = {}
    delay: Seconds = 0.0
    pause: Seconds = 0.0
    early: bool = False
    close: bool = False
    fail: (
        Literal["reset", "close", "never", "half", "half-reset", "half-head", "accept-close", "accept-reset"]
        | None
    ) = None
    raw: str | None = None


class App(Strict):
    """Pods with one script."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    locality: str = ""
    replicas: int = Field(default=1, ge=1, le=50)
    service: str = ""
    script: list[Answer] = Field(default=[Answer()], min_length=1)
    paths: dict[str, list[Answer]] = {}
    refuse: bool = False
    silent: bool = False
    ready: bool = True
    sidecar: bool = False


Bounds = int | tuple[float, float]


class RequestExpect(Strict):
    """What one answer must be, on both sides."""

    status: int | str | list[int] | None = None
    body: str | None = None
    app: str | list[str] | None = None
    headers: dict[str, str | None] = {}
    flags: str | None = None
    details: str | None = None
    took: tuple[float, float] | None = None


class Request(Strict):
    method: str = "GET"
    path: str = "/"
    headers: Texts = {}
    body: AnyBody | None = None
    trailers: Texts = {}
    host: str | None = None
    to: int | None = None
    source: int = Field(default=1, ge=1, le=40)
    connection: str = ""
    repeat: int = Field(default=1, ge=1)
    at_once: int = Field(default=1, ge=1)
    abandon: Seconds | None = None
    expect: RequestExpect = RequestExpect()


def _as_request(value: object) -> object:
    if not isinstance(value, str):
        return value
    method, _, path = value.partition(" ") if not value.startswith("/") else ("GET", "", value)
    if not path.startswith(("/", "*", "http")):
        raise ValueError(f"{value!r} is not METHOD /path")
    return {"method": method, "path": path}


AnyRequest = Annotated[Request, BeforeValidator(_as_request)]


class Wait(Strict):
    wait: Seconds


class Together(Strict):
    together: list[AnyRequest]
    stagger: Seconds = 0.0


class Change(Strict):
    """A push: objects as they are, or the case's own blocks anew."""

    apply: list[Json] = []
    remove: list[str] = []
    http: list[Json] | None = None
    destination: Json | None = None
    apps: dict[str, Json] | None = None


class ReadStats(Strict):
    stats: list[str]


def _kind(value: object) -> str:
    """Which step a mapping is; in brackets, so that an error's place tells the word from a key."""
    if isinstance(value, dict):
        for key in ("wait", "together", "stats"):
            if key in value:
                return f"<{key}>"
        if not value.keys().isdisjoint(("apply", "remove", "http", "destination", "apps")):
            return "<change>"
    return "<request>"


Step = Annotated[
    Annotated[AnyRequest, Tag("<request>")]
    | Annotated[Wait, Tag("<wait>")]
    | Annotated[Together, Tag("<together>")]
    | Annotated[Change, Tag("<change>")]
    | Annotated[ReadStats, Tag("<stats>")],
    Discriminator(_kind),
]
CLIENT_PARTS = ("status", "headers", "body", "framing", "trailers", "failure", "took")
UPSTREAM_PARTS = ("line", "headers", "body", "order", "count", "connections")


class Observe(Strict):
    client: list[str] = [*CLIENT_PARTS]
    upstream: list[str] = ["line", "headers", "body", "order"]
    log: list[str] | None = None
    ignore: list[str] = []
    stats: list[str] = []
    without_stats: list[str] = []
    timing: bool = True
    random: bool = False
    sums: bool = False

    @field_validator("client", "upstream")
    @classmethod
    def _known(cls, value: list[str], info: Any) -> list[str]:
        known = CLIENT_PARTS if info.field_name == "client" else UPSTREAM_PARTS
        if unknown := [part for part in value if part not in known]:
            raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return value


class Expect(Strict):
    """What all of the case must amount to, on both sides."""

    upstream: dict[str, Bounds] = {}
    share: dict[str, tuple[float, float]] = {}
    statuses: dict[int, Bounds] = {}
    stats: dict[str, Bounds] = {}


class Client(Strict):
    labels: dict[str, str] = {}
    namespace: str = "default"
    locality: str = ""


Place = Literal["client", "server", "pair"]


class Case(Strict):
    name: str
    source: str = ""
    """The file it is from."""
    about: str = ""
    http: list[Json] | None = None
    virtual_service: Json = {}
    destination: Json | None = None
    manifests: list[Json] | str = []
    apps: dict[str, Annotated[App, BeforeValidator(lambda app: {} if app is None else app)]] = {"a": App()}
    ports: list[Json] = [{"name": "http", "port": 8000}]
    port: Literal["own"] | None = None
    client: Client = Client()
    mesh: Json = {}
    at: Place = "client"
    alone: bool = False
    requests: list[Step] = Field(min_length=1)
    observe: Observe = Observe()
    expect: Expect = Expect()

    @field_validator("name")
    @classmethod
    def _is_label(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(f"{value!r} is no DNS label of at most 59 characters")
        return value

    @property
    def live(self) -> bool:
        """Whether the case changes configuration or reads stats while it runs, which costs what all its sidecar holds costs."""
        return any(isinstance(step, Change | ReadStats) for step in self.requests)

    @property
    def shares_of_requests(self) -> bool:
        """Whether requests, and not connections, are dealt out at random."""
        return self.observe.random and str(self.ports[0].get("name")).startswith(("http", "grpc"))
