"""Which headers of a request go no further, whatever else repeats."""

from __future__ import annotations

import pytest

from proxy.http.request_headers import strip

KEPT = [(b"host", b"a"), (b"accept", b"*/*")]


@pytest.mark.parametrize(
    ("gone", "also_kept"),
    [
        ([(b"x-envoy-expected-rq-timeout-ms", b"5")], []),
        ([(b"connection", b"close, X-Gone"), (b"x-gone", b"1")], []),
        ([(b"x-envoy-retry-on", b"5xx"), (b"x-envoy-retry-on", b"reset")], []),
        ([(b"x-envoy-retry-on", b"5xx")], [(b"cookie", b"1"), (b"cookie", b"2")]),
        ([], []),
    ],
)
def test_what_goes_and_what_stays(
    gone: list[tuple[bytes, bytes]], also_kept: list[tuple[bytes, bytes]]
) -> None:
    headers = [*gone, *KEPT, *also_kept]
    before = list(headers)
    found = strip(headers, dict(headers), keep_upgrade=False, edge=False, extra=frozenset())
    assert found == [*KEPT, *also_kept]
    assert headers == before  # the message itself stays as it came
