"""Application protocols, by which sidecars tell HTTP from bytes, and mesh TLS from a user's own.

Istio lists `h2c`, `h2` and `istio-h2` too. The sidecars speak no HTTP/2 yet, so here HTTP/2 is bytes: it falls to the
TCP chains, terminated and forwarded unread. With `control.registry.protocol.treatment` this is the only place to change.
Reference: istio's pilot/pkg/networking/core/listener.go (mtlsHTTPALPNs …), xds/filters (istio.alpn).
"""

from __future__ import annotations

# What http_inspector says of plaintext HTTP. HTTP/1.0 is not in Istio's list either.
PLAINTEXT_HTTP = ["http/1.1"]
# Offered by client sidecars for HTTP, and for bytes.
MESH_HTTP = ["istio-http/1.0", "istio-http/1.1"]
MESH_TCP = ["istio-peer-exchange", "istio", "istio-h2"]
MESH = [*MESH_TCP[:2], *MESH_HTTP, "istio-h2"]

SERVER_HTTP = ["http/1.1"]
SERVER_TCP = ["istio-peer-exchange", "http/1.1"]

CLIENT = ["istio-peer-exchange", "istio"]
CLIENT_HTTP10 = ["istio-http/1.0", "istio", "http/1.0"]
CLIENT_HTTP11 = ["istio-http/1.1", "istio", "http/1.1"]
