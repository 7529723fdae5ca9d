"""A REST xDS server with fixed answers: what a proxy under test or measurement is configured from.

    python -m bench.xds_server FILE PORT

FILE holds `{node id: {"listeners": […], "routes": […], "clusters": […], "endpoints": […], "secrets": […]}}`.
Version is always "1"; a request that already has it is held like the control plane's long poll (then 304). Errors a
proxy reports (a NACK) go to stderr, one line each, so that a refused configuration is seen at once.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Snapshot = dict[str, list[dict[str, Any]]]
VERSION = "1"
HOLD_S = 30.0
TYPE_URLS = {
    "clusters": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "endpoints": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
    "listeners": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "routes": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
    "secrets": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
}


class StaticXds(ThreadingHTTPServer):
    """Serves snapshots by node id on a loopback port; `nacks` collects what proxies refused."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, snapshots: dict[str, Snapshot], port: int = 0) -> None:
        self.snapshots = snapshots
        self.nacks: list[str] = []
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", port), _Discovery)

    def refused(self, node: str, kind: str, message: str) -> None:
        line = f"{node} refused {kind}: {message}"
        self.nacks.append(line)
        print(line, file=sys.stderr, flush=True)


class _Discovery(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: StaticXds

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        kind = self.path.partition(":")[2]
        node = body["node"]["id"]
        if body.get("error_detail"):
            self.server.refused(node, kind, body["error_detail"].get("message", ""))
        snapshot = self.server.snapshots.get(node)
        if snapshot is None or (kind not in TYPE_URLS and kind != "aggregated"):
            self._reply(404, {"message": f"no {kind} for node {node}"})
        elif body.get("version_info") == VERSION or body.get("error_detail"):
            self.server.closing.wait(HOLD_S)
            self._reply(304, None)
        elif kind == "aggregated":
            resources = {TYPE_URLS[name]: found for name, found in snapshot.items()}
            self._reply(
                200,
                {
                    "version_info": VERSION,
                    "nonce": "1",
                    "full": True,
                    "resources": resources,
                    "removed_resources": {},
                },
            )
        else:
            self._reply(200, _discovery_response(kind, snapshot[kind], set(body.get("resource_names", ()))))

    def _reply(self, status: int, document: dict[str, Any] | None) -> None:
        data = b"" if document is None else json.dumps(document).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the proxy is gone, which is its right

    def log_message(self, *args: object) -> None:
        """One line per poll would drown the NACKs."""


def _discovery_response(kind: str, resources: list[dict[str, Any]], names: set[str]) -> dict[str, Any]:
    wanted = [r for r in resources if not names or r.get("name", r.get("cluster_name")) in names]
    return {"version_info": VERSION, "nonce": "1", "type_url": TYPE_URLS[kind], "resources": wanted}


if __name__ == "__main__":
    StaticXds(json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])).serve_forever()
