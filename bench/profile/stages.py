"""From samples to the time of a request's stages. Pure.

Two samplers see different things: `native` the kernel and libraries, but no Python function; `functions` Python functions, C
and system calls they made included. So each stage in Python is its functions' share, less what native code of theirs is shown by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bench.profile import native

SOCKETS = "sockets, in Python"
PARSE = "HTTP parsing"
HEADERS = "headers and encoding"
ROUTING = "routing"
UPSTREAM = "load balancing, pool"
STATS = "stats"
LOG = "access log"
FLOW = "request flow"
LOOP = "event loop"
ENVOY = "Envoy, user space"
RUNTIME = "Python's runtime"
KERNEL = (native.SEND, native.WAKE, native.RECEIVE, native.EPOLL, native.KERNEL)
ORDER = (
    *KERNEL, native.OPENSSL, SOCKETS, PARSE, HEADERS, ROUTING, UPSTREAM, STATS, LOG, FLOW, LOOP,
    native.PARSER, native.UVLOOP, native.COMPILED, RUNTIME, ENVOY,
)  # fmt: skip
"""As a table or chart shows them: first what a shorter way through Python cannot change."""

# Below proxy/; the longest prefix decides, and what has none is the request's flow.
_STAGE_OF = {
    "net/": SOCKETS,
    "net/flow": FLOW,
    "tls/": SOCKETS,
    "http/codec/": PARSE,
    "http/codec/h1_encode": HEADERS,
    "http/codec/h1_case": HEADERS,
    "http/admission": HEADERS,
    "http/request_headers": HEADERS,
    "http/request_id": HEADERS,
    "http/path_normalization": HEADERS,
    "http/stream.": HEADERS,
    "http/client_connection": HEADERS,
    "http/filters/": FLOW,
    "router/request_mutation": HEADERS,
    "router/response_mutation": HEADERS,
    "router/header_ops": HEADERS,
    "router/inline_headers": HEADERS,
    "http/routing": ROUTING,
    "router/matcher": ROUTING,
    "router/route": ROUTING,
    "router/conditions": ROUTING,
    "router/request_policy": ROUTING,
    "router/router": FLOW,
    "router/route_stats": STATS,
    "upstream/": UPSTREAM,
    "upstream/cluster_stats": STATS,
    "http/hcm_stats": STATS,
    "observability/stats": STATS,
    "observability/istio_metrics": STATS,
    "observability/stream_info": FLOW,
    "observability/": LOG,
    "clock": LOG,
}


def stage_of(file: str) -> str:
    """The stage of a function, by the file it is in; the empty name is the event loop's."""
    if not file:
        return LOOP
    if file.startswith("<access log"):
        return LOG
    path = file.rpartition("/proxy/")[2]
    prefixes = [prefix for prefix in _STAGE_OF if path.startswith(prefix)]
    return _STAGE_OF[max(prefixes, key=len)] if prefixes else FLOW


def of_ours(total: float, machine: Counter[str], functions: Counter[str]) -> dict[str, float]:
    """Stages of one of our sidecars in µs, which sum up to `total`; `functions` are samples by stage."""
    shares = {name: count / machine.total() for name, count in machine.items()}
    inside = {name: functions[name] / functions.total() for name in functions}
    kernel = {name: shares.get(name, 0.0) for name in (*KERNEL, native.OPENSSL)}
    network = sum(kernel[name] for name in (native.SEND, native.WAKE, native.RECEIVE, native.OPENSSL))
    inside[SOCKETS] = max(0.0, inside.get(SOCKETS, 0.0) - network)
    inside[LOOP] = max(0.0, inside.get(LOOP, 0.0) - kernel[native.EPOLL])
    scale = (1 - sum(kernel.values())) / sum(inside.values())
    found = kernel | {name: share * scale for name, share in inside.items()}
    return {name: found[name] * total for name in ORDER if found.get(name)}


def of_machine_code(total: float, machine: Counter[str], *, envoy: bool) -> dict[str, float]:
    """Stages in µs of a sidecar whose functions have no names: Envoy's, and ours once compiled."""
    named = (*KERNEL,) if envoy else (*KERNEL, native.OPENSSL, native.PARSER, native.UVLOOP, native.COMPILED)
    found = {name: total * machine[name] / machine.total() for name in named if machine[name]}
    return {**found, ENVOY if envoy else RUNTIME: total - sum(found.values())}


def floor(found: Mapping[str, float]) -> float:
    """What a shorter way through Python cannot change, in µs: the kernel and OpenSSL."""
    return sum(found.get(name, 0.0) for name in (*KERNEL, native.OPENSSL))
