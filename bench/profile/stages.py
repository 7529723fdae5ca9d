"""From samples to the time of a request's stages. Pure.

Of a sidecar that runs from source two samplers see different things: `native` the kernel and libraries, but no Python function;
`functions` Python functions, C and system calls they made included. So each stage in Python is its functions' share, less what
native code of theirs is shown by itself. Of a compiled one `native` sees it all.
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
KERNEL = (native.SEND, native.WAKE, native.RECEIVE, native.EPOLL, native.KERNEL)
ORDER = (*KERNEL, native.OPENSSL, SOCKETS, PARSE, HEADERS, ROUTING, UPSTREAM, STATS, LOG, FLOW, LOOP, ENVOY)
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
    path = file.rpartition("/proxy/")[2]
    prefixes = [prefix for prefix in _STAGE_OF if path.startswith(prefix)]
    return _STAGE_OF[max(prefixes, key=len)] if prefixes else FLOW


def by_stage(functions: Mapping[tuple[str, str], int]) -> Counter[str]:
    """Samples by stage, from samples by file and function."""
    found: Counter[str] = Counter()
    for (file, _), count in functions.items():
        found[stage_of(file)] += count
    return found


def from_source(total: float, kinds: Counter[str], functions: Counter[str]) -> dict[str, float]:
    """Stages of one of our sidecars in µs, which sum up to `total`; `functions` are samples by stage."""
    native_shares = _shares(kinds)
    inside = {name: functions[name] / functions.total() for name in functions}
    network = sum(native_shares[name] for name in (native.SEND, native.WAKE, native.RECEIVE, native.OPENSSL))
    inside[SOCKETS] = max(0.0, inside.get(SOCKETS, 0.0) - network)
    inside[LOOP] = max(0.0, inside.get(LOOP, 0.0) - native_shares[native.EPOLL])
    scale = (1 - sum(native_shares.values())) / sum(inside.values())
    found = native_shares | {name: share * scale for name, share in inside.items()}
    return {name: found[name] * total for name in ORDER if found.get(name)}


def compiled(total: float, kinds: Counter[str], functions: Counter[str]) -> dict[str, float]:
    """The same, where `functions` leave out the kernel and OpenSSL."""
    found = _shares(kinds) | {name: count / kinds.total() for name, count in functions.items()}
    return {name: found[name] * total for name in ORDER if found.get(name)}


def envoy(total: float, kinds: Counter[str]) -> dict[str, float]:
    """The kernel's stages in µs, and the rest; Envoy's own functions have no names to tell them apart by."""
    found = {name: total * kinds[name] / kinds.total() for name in KERNEL if kinds[name]}
    return {**found, ENVOY: total - sum(found.values())}


def _shares(kinds: Counter[str]) -> dict[str, float]:
    return {name: kinds[name] / kinds.total() for name in (*KERNEL, native.OPENSSL)}


def floor(found: Mapping[str, float]) -> float:
    """What a shorter way through Python cannot change, in µs: the kernel and OpenSSL."""
    return sum(found.get(name, 0.0) for name in (*KERNEL, native.OPENSSL))
