"""Who owns a connection: what it is told, and nobody, who owns those that are closed."""

from __future__ import annotations

from typing import Protocol


class ConnectionOwner(Protocol):
    """Whoever a connection reports to."""

    def on_data(self, data: bytes) -> None:
        """Bytes arrived."""

    def on_burst(self, pieces: list[bytes]) -> None:
        """More bytes arrived than one read takes; at least two pieces."""

    def on_eof(self) -> None:
        """The peer will send no more; told once."""

    def on_error(self, error: OSError) -> None:
        """The connection broke; it is closed already."""

    def on_drain(self) -> None:
        """Bytes had to be kept, and now all are sent."""


class _Nobody:
    """Takes the owner's place, so that owner and connection do not keep each other until the garbage collector comes."""

    def on_data(self, data: bytes) -> None: ...
    def on_burst(self, pieces: list[bytes]) -> None: ...
    def on_eof(self) -> None: ...
    def on_error(self, error: OSError) -> None: ...
    def on_drain(self) -> None: ...


NOBODY = _Nobody()
