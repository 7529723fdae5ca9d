"""Everything that is compiled is configuration real Envoy takes, and our own typed model takes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from control.compile.compiler import Resources, compile_proxy
from control.compile.protobuf import LISTENER
from control.mesh_config import MeshConfig, OutboundTrafficPolicy
from control.push.context import PushContext
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from control.push.static import StaticXds
from proxy.config.decode import decode

MANIFESTS = Path(__file__).parents[3] / "demo_apps/manifests"
BOOKINFO = ["bookinfo.yaml", "bookinfo-gateway.yaml", "destination-rule-all.yaml"]

OTHER_PORTS = """
apiVersion: v1
kind: Service
metadata: {name: sniffed}
spec: {selector: {app: reviews}, ports: [{name: foo, port: 7000, targetPort: 9081}]}
---
apiVersion: v1
kind: Service
metadata: {name: bytes}
spec: {selector: {app: reviews}, ports: [{name: tcp-x, port: 7001, targetPort: 9082}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: reviews}, ports: [{name: tcp, port: 7002}, {name: http, port: 7003}]}
---
apiVersion: v1
kind: Service
metadata: {name: grpc}
spec: {selector: {app: reviews}, ports: [{name: grpc, port: 7004}]}
"""
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: many
    match:
    - name: a
      uri: {prefix: /Api}
      ignoreUriCase: true
      headers: {end-user: {exact: jason}, X-Present: {}, x-re: {regex: "a+"}}
      withoutHeaders: {cookie: {regex: ".*x.*"}, x-gone: {}}
      queryParams: {q: {exact: ""}, r: {regex: "[0-9]+"}, s: {}}
      method: {exact: GET}
      authority: {prefix: rev}
      scheme: {exact: http}
      statPrefix: many
    - uri: {regex: "/v[0-9]+/.*"}
    rewrite: {uriRegexRewrite: {match: "/v([0-9]+)/", rewrite: '/w\\1/'}}
    route:
    - destination: {host: reviews, subset: v1}
      weight: 90
      headers: {request: {set: {x-weighted: "1"}}}
    - destination: {host: reviews, subset: v2}
      weight: 10
    - destination: {host: reviews, subset: v3}
      weight: 0
    headers:
      request: {set: {Host: other, x-a: b}, add: {x-c: d}, remove: [x-e]}
      response: {add: {x-f: "%UPSTREAM_HOST%"}}
    timeout: 1.5s
    retries: {attempts: 3, perTryTimeout: 500ms, retryOn: "503,gateway-error", backoff: 10ms}
  - match: [{uri: {exact: /gone}}]
    redirect: {uri: /there, authority: x.org, scheme: https, port: 8443, redirectCode: 308}
  - match: [{uri: {exact: /direct}}]
    directResponse: {status: 503, body: {string: "no"}}
  - route: [{destination: {host: reviews.default.svc.cluster.local}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: external}
spec: {hosts: ["*.example.com"], http: [{route: [{destination: {host: details}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes}
spec:
  hosts: [bytes]
  tls: [{match: [{sniHosts: [bytes]}], route: [{destination: {host: bytes}}]}]
  tcp:
  - match: [{destinationSubnets: [10.0.0.0/8], port: 7001}]
    route: [{destination: {host: bytes}, weight: 1}, {destination: {host: grpc}, weight: 3}]
"""
POLICIES = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews-policy}
spec:
  host: reviews
  trafficPolicy:
    loadBalancer: {simple: RANDOM}
    connectionPool:
      tcp: {maxConnections: 10, connectTimeout: 1s, maxConnectionDuration: 1m, tcpKeepalive: {time: 7200s, interval: 75s}}
      http: {http1MaxPendingRequests: 1, http2MaxRequests: 2, maxRequestsPerConnection: 3, maxRetries: 4, idleTimeout: 5s}
    outlierDetection:
      consecutive5xxErrors: 3
      consecutiveGatewayErrors: 2
      splitExternalLocalOriginErrors: true
      consecutiveLocalOriginFailures: 4
      outlierDetectionHttpErrorCodes: [429, 500]
      interval: 1s
      baseEjectionTime: 3m
      maxEjectionPercent: 50
      minHealthPercent: 30
    tls: {mode: ISTIO_MUTUAL}
    portLevelSettings: [{port: {number: 7002}, loadBalancer: {simple: ROUND_ROBIN}, tls: {mode: DISABLE}}]
  subsets:
  - {name: v9, labels: {version: v9}, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}, tls: {mode: DISABLE}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: details-tls}
spec: {host: details, trafficPolicy: {tls: {mode: SIMPLE, sni: details.example.com, subjectAltNames: [a.b]}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings-tls}
spec: {host: ratings, trafficPolicy: {tls: {mode: SIMPLE}}}
"""
FILTERS = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings-filters}
spec:
  hosts: [ratings]
  http:
  - name: delayed
    match: [{headers: {end-user: {exact: jason}}}]
    fault:
      delay: {fixedDelay: 7s, percentage: {value: 0.0001}}
      abort: {grpcStatus: UNAVAILABLE, percentage: {value: 33.3333}}
    route: [{destination: {host: ratings}}]
  - name: marked
    fault: {delay: {fixedDelay: 1ms, percent: 3}, abort: {httpStatus: 599}}
    corsPolicy:
      allowOrigins: [{exact: 'http://a'}, {prefix: 'http://b'}, {regex: 'http://[a-z]+'}]
      allowMethods: ['*']
      allowHeaders: [x-a, x-b]
      exposeHeaders: [x-c]
      maxAge: 24h
      allowCredentials: true
      unmatchedPreflights: IGNORE
    route: [{destination: {host: ratings}, weight: 1}, {destination: {host: details}, weight: 2}]
---
apiVersion: glassmesh.io/v1alpha1
kind: LocalRateLimit
metadata: {name: routes}
spec:
  routes: [{virtualService: ratings-filters, names: [marked]}]
  tokenBucket: {maxTokens: 100, tokensPerFill: 10, fillInterval: 1.5s}
  status: 420
  responseHeaders: {x-limited: '%ROUTE_NAME%'}
  rateLimitHeaders: true
  perConnection: true
  enabledPercentage: {value: 50}
  enforcedPercentage: {value: 0.0001}
  limits:
  - {match: {path: {exact: '/a.b'}, method: {regex: 'GET|PUT'}, headers: {x-u: {}, x-v: {prefix: a}}}, tokenBucket: {maxTokens: 1, fillInterval: 50ms}}
  - {match: {path: {regex: '/[0-9]+'}}, each: {header: X-User}, tokenBucket: {maxTokens: 1, fillInterval: 1m}}
  - {each: {clientAddress: true}, tokenBucket: {maxTokens: 1, fillInterval: 1m}}
---
apiVersion: glassmesh.io/v1alpha1
kind: LocalRateLimit
metadata: {name: everybody, namespace: istio-system}
spec: {tokenBucket: {maxTokens: 1000, fillInterval: 1s}}
"""


def _peers(mode: str) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: istio-system}}
spec: {{mtls: {{mode: {mode}}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: reviews}}
spec: {{selector: {{matchLabels: {{app: reviews}}}}, portLevelMtls: {{"9082": {{mode: DISABLE}}, "9999": {{mode: STRICT}}}}}}
"""


MESHES: dict[str, tuple[list[str], MeshConfig]] = {
    "bookinfo": ([], MeshConfig()),
    "rules": ([OTHER_PORTS, RULES], MeshConfig(accessLogEncoding="JSON")),
    "policies": ([POLICIES], MeshConfig(accessLogFile="")),
    "permissive": ([OTHER_PORTS, _peers("PERMISSIVE")], MeshConfig(protocolDetectionTimeout="100ms")),
    "filters": ([FILTERS], MeshConfig()),
    "strict": ([OTHER_PORTS, _peers("STRICT")], MeshConfig()),
    "disable": ([OTHER_PORTS, _peers("DISABLE")], MeshConfig()),
    "registry only": (
        [OTHER_PORTS],
        MeshConfig(outboundTrafficPolicy=OutboundTrafficPolicy(mode="REGISTRY_ONLY")),
    ),
}


def _context(mesh: str) -> PushContext:
    texts, config = MESHES[mesh]
    objects = [
        obj for text in [*((MANIFESTS / name).read_text() for name in BOOKINFO), *texts] for obj in read(text)
    ]
    return context_of(objects, config)


def _proxy(context: PushContext, vanilla: bool, name: str = "reviews-v1") -> Proxy:
    workload = context.by_name["default", name]
    node = f"sidecar~{workload.ip}~{name}.default~default.svc.cluster.local"
    return Proxy(
        node, "sidecar", workload.ip, name, "default", workload.labels, "bookinfo-reviews", vanilla, {}
    )


def _gateway(vanilla: bool) -> Proxy:
    node = "router~10.244.9.9~gateway.istio-system~istio-system.svc.cluster.local"
    labels = {"istio": "ingressgateway"}
    return Proxy(node, "router", "10.244.9.9", "gateway", "istio-system", labels, "gateway", vanilla, {})


def _messages(resources: Resources) -> list[dict[str, Any]]:
    return [json.loads(one.body) for found in resources.values() for one in found.values()]


def _on_loopback(message: dict[str, Any]) -> dict[str, Any]:
    """Capture listeners on a free port of loopback, and none at addresses this machine does not have."""
    if message["@type"] == LISTENER and message.get("bind_to_port", True):
        message["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
    return message


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("vanilla", [True, False])
def test_our_model_takes_everything(mesh: str, vanilla: bool) -> None:
    context = _context(mesh)
    for proxy in (_proxy(context, vanilla), _gateway(vanilla)):
        for url, found in compile_proxy(context, proxy).items():
            for name, resource in found.items():
                decode(url, name, resource.body)


@pytest.mark.envoy
@pytest.mark.parametrize("mesh", MESHES)
async def test_envoy_takes_everything(
    mesh: str, xds: StaticXds, pki: Any, start_envoy: Callable[[str], Awaitable[Any]]
) -> None:
    context = _context(mesh)
    resources = compile_proxy(context, _proxy(context, vanilla=True))
    secrets = pki.secrets("spiffe://cluster.local/ns/default/sa/bookinfo-reviews")
    xds.set("node", [*map(_on_loopback, _messages(resources)), *secrets])
    envoy = await start_envoy("node")
    await envoy.settled(len(resources[LISTENER]))


@pytest.mark.envoy
async def test_envoy_takes_a_gateway(
    xds: StaticXds, pki: Any, start_envoy: Callable[[str], Awaitable[Any]]
) -> None:
    resources = compile_proxy(_context("bookinfo"), _gateway(vanilla=True))
    secrets = pki.secrets("spiffe://cluster.local/ns/istio-system/sa/gateway")
    xds.set("node", [*map(_on_loopback, _messages(resources)), *secrets])
    envoy = await start_envoy("node")
    await envoy.settled(1)
