"""What a peer is: a way to start one proxy of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where one proxy stands. Of a pair the client's takes plaintext and sends mutual TLS, the server's the other way round.

    `chain`, `key` and `root` are PEM files; `host` is the authority the generator asks for.
    """

    role: str
    directory: Path
    port: int
    target_port: int
    chain: Path
    key: Path
    root: Path
    host: str


@dataclass(frozen=True)
class Peer:
    """`command` makes the argv from the configuration file; `None` stands for no proxy at all.

    `configure` writes that file for peers with a language of their own; without it the file is an Envoy bootstrap and
    the configuration xDS. `vanilla` asks the control plane for what vanilla Envoy can read, else for what our sidecar gets:
    Istio's metrics and metadata exchange as well. `unavailable` says why the peer cannot run here, or nothing; `version` is
    asked only when it can. A `forward` proxy is asked for absolute URLs instead of standing in for the app.
    `environment` is added to that of its processes.
    """

    name: str
    title: str
    vanilla: bool
    command: Callable[[Path], list[str]] | None
    unavailable: Callable[[], str]
    version: Callable[[], str]
    configure: Callable[[Place], Path] | None = None
    forward: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
