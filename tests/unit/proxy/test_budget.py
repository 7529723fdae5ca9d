"""The budget of Python calls per proxied request: what makes the sidecar fast is kept by counting, not by feeling."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

from tests.unit.proxy.in_memory import Mesh, connection_manager, listener, snapshot, static_cluster

REQUEST = b"GET /x HTTP/1.1\r\nhost: reviews:9080\r\nuser-agent: t\r\naccept: */*\r\nx-request-id: 1\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok"
ROUTE = {
    "match": {"prefix": "/"},
    "route": {
        "cluster": "up",
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,cancelled",
            "num_retries": 2,
        },
    },
}
BUDGET = 90  # calls into this package for REQUEST and RESPONSE, from readable socket to sent answer


def test_calls_per_request() -> None:
    mesh = Mesh(
        snapshot(
            clusters=[static_cluster("up", ("10.0.0.7", 80))],
            listeners=[listener(connection_manager([ROUTE]))],
        )
    )
    client = mesh.client()

    def one() -> None:
        client.receive(REQUEST)
        mesh.run()
        mesh.upstream.receive(RESPONSE)
        assert client.take().endswith(b"ok")

    one()
    one()
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and "/proxy/" in code.co_filename and "/tests/" not in code.co_filename:
            calls[f"{code.co_filename.rpartition('/proxy/')[2]}:{code.co_name}"] += 1

    sys.setprofile(count)
    try:
        one()
    finally:
        sys.setprofile(None)
    listing = "\n".join(f"{n:3} {name}" for name, n in calls.most_common())
    assert sum(calls.values()) <= BUDGET, f"{sum(calls.values())} calls:\n{listing}"
