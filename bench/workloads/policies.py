"""What Istio's policies cost a request that they let pass: the same load with one policy each, and with all of them.

Every policy is armed and none fires, but for the mirror, which copies every tenth request. The request matches the last route of the table.
"""

from __future__ import annotations

from bench.compiled import ENDPOINTS, Mesh
from bench.workloads.scenes import pair
from bench.workloads.workload import Scene, Workload
from control.mesh_config import MeshConfig

SIZES = (10, 100, 1000)
"""Services of the meshes in which the cost of a request is measured, as bench.scale does of changes."""
_FAULT = "fault: {delay: {percentage: {value: 0.0001}, fixedDelay: 0.001s}}"
_RETRIES = "timeout: 10s, retries: {attempts: 3, perTryTimeout: 5s, retryOn: '5xx,reset,connect-failure,refused-stream'}"
_MIRROR = "mirror: {host: shadow}, mirrorPercentage: {value: 10}"
_LIMITS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app}
spec:
  host: app
  trafficPolicy:
    connectionPool:
      tcp: {maxConnections: 1000, connectTimeout: 1s}
      http: {http1MaxPendingRequests: 1000, http2MaxRequests: 1000, maxRetries: 100}
    outlierDetection: {consecutive5xxErrors: 5, consecutiveGatewayErrors: 5, interval: 1s, baseEjectionTime: 30s}
"""
_RATE = """
apiVersion: glassmesh.io/v1alpha1
kind: LocalRateLimit
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  tokenBucket: {maxTokens: 1000000, tokensPerFill: 1000000, fillInterval: 1s}
"""


def _routes(count: int, last: str = "") -> str:
    """A VirtualService of `count` routes; the request takes the last."""
    destination = "route: [{destination: {host: app}}]"
    rules = [f"  - {{match: [{{uri: {{prefix: /p{n}/}}}}], {destination}}}" for n in range(count - 1)]
    rules.append(f"  - {{{destination}{', ' + last if last else ''}}}")
    return (
        "\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: app}\n"
        "spec:\n  hosts: [app]\n  http:\n" + "\n".join(rules) + "\n"
    )


_BIG = ("routes_1000", "services_")  # workloads of which the memory is of interest, too
MESHES: dict[str, Mesh] = {}
"""What is told to a mesh for each scene with a policy, by its name."""


def _scene(name: str, manifests: str, *, copies: bool = False) -> Scene:
    MESHES[name] = Mesh(manifests=manifests)
    return pair(name, MESHES[name], copies=copies)


_SCENES: dict[str, tuple[str, Scene]] = {
    "routes_10": ("10 routes", _scene("10 routes", _routes(10))),
    "routes_1000": ("1,000 routes", _scene("1,000 routes", _routes(1000))),
    **{
        f"services_{count}": (
            f"{count:,} services × {ENDPOINTS} endpoints",
            pair(f"{count:,} services", Mesh(others=count)),
        )
        for count in SIZES
    },
    "retries": ("timeout and retries armed", _scene("retries", _routes(1, _RETRIES))),
    "fault": ("fault filter, not firing", _scene("fault", _routes(1, _FAULT))),
    "limits": ("outlier detection, circuit breaker", _scene("limits", _LIMITS)),
    "rate_limit": ("local rate limit", _scene("rate limit", _RATE)),
    "mirror": ("mirror 10 %", _scene("mirror", _routes(1, _MIRROR), copies=True)),
    "log_off": ("access log off", pair("access log off", Mesh(config=MeshConfig(accessLogFile="")))),
    "stats_off": (
        "stats off",
        pair("stats off", bootstrap={"stats_config": {"stats_matcher": {"reject_all": True}}}),
    ),
    "everything": (
        "all of these",
        _scene(
            "everything",
            "---".join((_routes(1000, f"{_RETRIES}, {_FAULT}, {_MIRROR}"), _LIMITS, _RATE)),
            copies=True,
        ),
    ),
}
WORKLOADS = [
    Workload(
        name=name,
        title=title,
        section="policies",
        scene=scene,
        plan={"connections": 16},
        show=("cpu_us_per_request", "rss_kib") if name.startswith(_BIG) else ("cpu_us_per_request",),
        seconds=1.0,
    )
    for name, (title, scene) in _SCENES.items()
]
