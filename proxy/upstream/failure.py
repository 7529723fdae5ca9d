"""Why an upstream request ended without a response: Envoy's reset reasons, with their texts, flags and statuses.

The one place that maps a failure to words, response flag and HTTP status; decides nothing about retries.
Reference: Envoy source/common/http/utility.cc `resetReasonToString`, source/common/router/router.cc.
"""

from __future__ import annotations

from enum import Enum

from proxy.observability import response_flags as flags


class ResetReason(Enum):
    """(text, response flag, HTTP status of the local reply)."""

    LOCAL_RESET = ("local reset", flags.LR, 503)
    REMOTE_RESET = ("remote reset", flags.UR, 503)
    REMOTE_REFUSED_STREAM = (
        "remote refused stream reset",
        flags.UR,
        503,
    )  # only where streams share a connection
    LOCAL_CONNECTION_FAILURE = ("local connection failure", flags.UF, 503)
    REMOTE_CONNECTION_FAILURE = ("remote connection failure", flags.UF, 503)
    CONNECTION_TIMEOUT = ("connection timeout", flags.UF, 503)
    CONNECTION_TERMINATION = ("connection termination", flags.UC, 503)
    OVERFLOW = ("overflow", flags.UO, 503)
    PROTOCOL_ERROR = ("protocol error", flags.UPE, 502)

    def __init__(self, text: str, flag: int, status: int) -> None:
        self.text = text
        self.flag = flag
        self.status = status


CONNECT_FAILURES = frozenset(
    {
        ResetReason.LOCAL_CONNECTION_FAILURE,
        ResetReason.REMOTE_CONNECTION_FAILURE,
        ResetReason.CONNECTION_TIMEOUT,
    }
)


class UpstreamReset(Exception):
    """The attempt ended without a (whole) response. `transport` is the transport failure reason, if there is one.

    `at_host` is false where no host had a part in it: there was no room to wait for a connection.
    """

    def __init__(self, reason: ResetReason, transport: str | None = None, *, at_host: bool = True) -> None:
        super().__init__(reason.text if transport is None else f"{reason.text}: {transport}")
        self.reason = reason
        self.transport = transport
        self.at_host = at_host
