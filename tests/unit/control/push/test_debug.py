from __future__ import annotations

import json

from control.compile.protobuf import LISTENER
from control.compile.resource import resource
from control.push.connection import Connection
from control.push.debug import config_dump
from control.push.metrics import Metrics
from control.push.proxy import Proxy
from control.push.snapshot import snapshot


def test_a_config_dump_holds_no_private_key() -> None:
    certificate = {"certificate_chain": {"inline_string": "c"}, "private_key": {"inline_string": "secret"}}
    listener = resource(
        {"@type": LISTENER, "name": "x", "filter_chains": [{"tls_certificates": [certificate]}]}
    )
    proxy = Proxy("id", "router", "", "a", "b", {}, "", False, {})
    dump = json.dumps(config_dump(Connection(proxy, snapshot({LISTENER: {"x": listener}}), 0, 0)))
    assert "secret" not in dump
    assert "[redacted]" in dump


def test_metrics_as_text() -> None:
    metrics = Metrics()
    metrics.count("pushes", type="cds")
    metrics.count("pushes", type="cds")
    metrics.gauge("connected", 3)
    metrics.observe("time", 0.02)
    lines = metrics.text().splitlines()
    assert 'pushes{type="cds"} 2' in lines
    assert "connected 3" in lines
    assert 'time_bucket{le="0.01"} 0' in lines
    assert 'time_bucket{le="0.05"} 1' in lines
    assert "time_count 1" in lines
