"""What a peer is: a way to start one sidecar from a bootstrap file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peer:
    """`command` makes the argv from the bootstrap file; `None` stands for no proxy at all.

    `vanilla` asks the control plane for what vanilla Envoy can read, else for what our sidecar gets: Istio's metrics and
    metadata exchange as well. `unavailable` says why the peer cannot run here, or nothing; `version` is asked only when it can.
    """

    name: str
    title: str
    vanilla: bool
    command: Callable[[Path], list[str]] | None
    unavailable: Callable[[], str]
    version: Callable[[], str]
