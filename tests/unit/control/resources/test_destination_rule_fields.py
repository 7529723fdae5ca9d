"""Every rule of Istio's for a DestinationRule: what is refused, at which path, in which words; and what is not."""

from __future__ import annotations

import pytest
import yaml

from control.resources import destination_rule


def _verdict(spec: str) -> tuple[list[str], list[str]]:
    obj = {"metadata": {"name": "x", "namespace": "default"}, "spec": yaml.safe_load(spec)}
    verdict = destination_rule.KIND.validate(obj)
    return [str(error) for error in verdict.errors], [w for w in verdict.warnings if "not acted on" not in w]


SHORT = "duration must be greater than 1ms"
WHOLE = [
    ("subsets: []", "spec.host: Required value"),
    ("host: ''", "spec.host: empty domain name not allowed"),
    ("host: a b", 'spec.host: domain name "a b" invalid (label "a b" invalid)'),
    ("host: a, trafficPolicy: {}", "spec.trafficPolicy: traffic policy must have at least one field"),
    ("host: a, subsets: [{}]", "spec.subsets[0].name: Required value"),
    ("host: a, subsets: [{name: ''}]", "spec.subsets[0].name: subset name cannot be empty"),
    ("host: a, subsets: [{name: a b}]", "spec.subsets[0].name: subset name is invalid: a b"),
    ("host: a, subsets: [{name: a}, {name: a}]", "spec.subsets: duplicate subset names: a"),
    ("host: a, subsets: [{name: a, labels: {a b: c}}]", 'spec.subsets[0].labels: invalid tag key: "a b"'),
    ("host: a, subsets: [{name: a, labels: {a: b c}}]", 'spec.subsets[0].labels: invalid tag value: "b c"'),
    (
        "host: a, subsets: [{name: a, trafficPolicy: {connectionPool: {}}}]",
        "spec.subsets[0].trafficPolicy.connectionPool: connection pool must have at least one field",
    ),
    ("host: a, exportTo: ['~']", "spec.exportTo[0]: exportTo ~ (none) is not allowed for Istio configuration objects"),
    (
        "host: a, workloadSelector: {matchLabels: {a: '*'}}",
        'spec.workloadSelector.matchLabels: wildcard is not supported in selector: "a=*"',
    ),
    (
        "host: a, workloadSelector: {matchLabels: {'': a}}",
        'spec.workloadSelector.matchLabels: empty key is not supported in selector: "=a"',
    ),
    (
        "host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: ['*']",
        "spec.exportTo: destination rule with workload selector cannot have exportTo beyond current namespace",
    ),
    (
        "host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [b]",
        "spec.exportTo: destination rule with workload selector cannot have exportTo beyond current namespace",
    ),
    (
        "host: a, exportTo: [., default]",
        "spec.exportTo: duplicate entries in exportTo: . and current namespace",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "error"), WHOLE)
def test_whole(spec: str, error: str) -> None:
    assert _verdict(f"{{{spec}}}")[0] == [error]


LOAD_BALANCER = [
    ("simple: BEST", 'simple: Unsupported value: "BEST": supported values: "LEAST_CONN", "LEAST_REQUEST", "PASSTHROUGH", "RANDOM", "ROUND_ROBIN", "UNSPECIFIED"'),
    ("simple: RANDOM, consistentHash: {useSourceIp: true}", "only one of simple and consistentHash may be set"),
    ("consistentHash: {useSourceIp: true, httpHeaderName: a}", "consistentHash: only one hash key may be set, not httpHeaderName, useSourceIp"),
    ("consistentHash: {useSourceIp: true, ringHash: {}, maglev: {}}", "consistentHash: only one of ringHash and maglev may be set"),
    ("consistentHash: {httpCookie: {name: ''}}", "consistentHash.httpCookie.name: name required for HttpCookie"),
    ("consistentHash: {httpCookie: {name: a, ttl: -1s}}", "consistentHash.httpCookie.ttl: duration must not be negative"),
    ('consistentHash: {httpCookie: {name: a, path: "/\\r\\nb: c"}}', 'consistentHash.httpCookie.path: "/\\r\\nb: c" contains a line break or NUL'),
    ('consistentHash: {httpCookie: {name: a, attributes: [{name: b, value: "\\n"}]}}', 'consistentHash.httpCookie.attributes[0].value: "\\n" contains a line break or NUL'),
    ("consistentHash: {httpHeaderName: ''}", "consistentHash.httpHeaderName: header name cannot be empty"),
    ("consistentHash: {httpQueryParameterName: ''}", "consistentHash.httpQueryParameterName: query parameter name cannot be empty"),
    ("consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: -1}}", "consistentHash.ringHash.minimumRingSize: -1 is not in range 0..18446744073709551615"),
    ("consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 8388609}}", "consistentHash.ringHash.minimumRingSize: minimumRingSize must be at most 8388608"),
    ("consistentHash: {useSourceIp: true, maglev: {tableSize: 0}}", "consistentHash.maglev.tableSize: tableSize must be set for maglev"),
    ("consistentHash: {useSourceIp: true, maglev: {tableSize: 100}}", "consistentHash.maglev.tableSize: tableSize must be a prime number for maglev"),
    ("consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}", "consistentHash.maglev.tableSize: tableSize must be less than 5000011 for maglev"),
    ("localityLbSetting: {distribute: [{from: a, to: {b: 100}}], failover: [{from: a, to: b}]}", "localityLbSetting: can not simultaneously specify 'distribute' and 'failover'"),
    ("localityLbSetting: {distribute: [{from: a, to: {b: 50, c: 40}}]}", "localityLbSetting.distribute[0].to: total locality weight 90 != 100"),
    ("localityLbSetting: {distribute: [{from: a, to: {b: 0, c: 100}}]}", "localityLbSetting.distribute[0].to: locality weight must be in range [1, 100]"),
    ("localityLbSetting: {distribute: [{from: '*/a', to: {b: 100}}]}", "localityLbSetting.distribute[0].from: locality */a wildcard '*' number can not exceed 1 and must be in the end"),
    ("localityLbSetting: {distribute: [{from: a//b, to: {b: 100}}]}", "localityLbSetting.distribute[0].from: locality a//b must not contain empty region/zone/subzone info"),
    ("localityLbSetting: {distribute: [{from: a, to: {b: 100}}, {from: a/b, to: {b: 100}}]}", "localityLbSetting.distribute[1].from: locality a/b overlap with previous specified ones"),
    ("localityLbSetting: {distribute: [{from: a, to: {b/*: 50, b/c: 50}}]}", "localityLbSetting.distribute[0].to: locality b/c overlap with previous specified ones"),
    ("localityLbSetting: {failover: [{from: a, to: a}]}", "localityLbSetting.failover[0]: locality lb failover settings must specify different regions"),
    ("localityLbSetting: {failover: [{from: a/b, to: c}]}", "localityLbSetting.failover[0]: locality lb failover only specify region"),
    ("localityLbSetting: {failover: [{from: a, to: '*'}]}", "localityLbSetting.failover[0]: locality lb failover region should not contain '*' wildcard"),
    ("localityLbSetting: {failoverPriority: [a b]}", 'localityLbSetting.failoverPriority[0]: "a b" is not a label key, or a label as key=value'),
    ("localityLbSetting: {failover: [{from: a, to: b}], failoverPriority: [topology.kubernetes.io/region]}",
     "localityLbSetting.failoverPriority[0]: can not simultaneously set 'failover' and topology label 'topology.kubernetes.io/region' in 'failover_priority'"),
    ("warmup: {}", "warmup.duration: Required value"),
    ("warmup: {duration: 0s}", f"warmup.duration: {SHORT}"),
    ("warmup: {duration: 1s, minimumPercent: 101}", "warmup.minimumPercent: minimumPercent value should be between 0 and 100"),
    ("warmup: {duration: 1s, aggression: 0.5}", "warmup.aggression: aggression should be greater than or equal to 1"),
    ("warmupDurationSecs: 1us", f"warmupDurationSecs: {SHORT}"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "error"), LOAD_BALANCER, ids=lambda text: text[:60])
def test_load_balancer(settings: str, error: str) -> None:
    found, _ = _verdict(f"{{host: a, trafficPolicy: {{loadBalancer: {{{settings}}}}}}}")
    prefix = "spec.trafficPolicy.loadBalancer" + (": " if error.startswith("only one of simple") else ".")
    assert found == [prefix + error]


POLICY = [
    ("connectionPool: {}", "connectionPool: connection pool must have at least one field"),
    ("connectionPool: {tcp: {maxConnections: -1}}", "connectionPool.tcp.maxConnections: max connections must be non-negative"),
    ("connectionPool: {tcp: {connectTimeout: 0s}}", f"connectionPool.tcp.connectTimeout: {SHORT}"),
    ("connectionPool: {tcp: {maxConnectionDuration: 1us}}", f"connectionPool.tcp.maxConnectionDuration: {SHORT}"),
    ("connectionPool: {tcp: {idleTimeout: 1us}}", f"connectionPool.tcp.idleTimeout: {SHORT}"),
    ("connectionPool: {tcp: {tcpKeepalive: {probes: -1}}}", "connectionPool.tcp.tcpKeepalive.probes: -1 is not in range 0..4294967295"),
    ("connectionPool: {tcp: {tcpKeepalive: {time: 2000000h}}}", "connectionPool.tcp.tcpKeepalive.time: duration is too long, at most 4294967295s"),
    ("connectionPool: {http: {http1MaxPendingRequests: -1}}", "connectionPool.http.http1MaxPendingRequests: http1 max pending requests must be non-negative"),
    ("connectionPool: {http: {http2MaxRequests: -1}}", "connectionPool.http.http2MaxRequests: http2 max requests must be non-negative"),
    ("connectionPool: {http: {maxRequestsPerConnection: -1}}", "connectionPool.http.maxRequestsPerConnection: max requests per connection must be non-negative"),
    ("connectionPool: {http: {maxRetries: -1}}", "connectionPool.http.maxRetries: max retries must be non-negative"),
    ("connectionPool: {http: {maxRetries: 2147483648}}", "connectionPool.http.maxRetries: 2147483648 is not in range -2147483648..2147483647"),
    ("connectionPool: {http: {maxConcurrentStreams: -1}}", "connectionPool.http.maxConcurrentStreams: max concurrent streams must be non-negative"),
    ("connectionPool: {http: {idleTimeout: 1us}}", f"connectionPool.http.idleTimeout: {SHORT}"),
    ("connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}",
     "connectionPool.http.useClientProtocol: use client protocol must not be true when H2UpgradePolicy is UPGRADE"),
    ("connectionPool: {http: {http2KeepAlive: {interval: 0s}}}", f"connectionPool.http.http2KeepAlive.interval: {SHORT}"),
    ("connectionPool: {http: {retryBudget: {percent: 101}}}", "connectionPool.http.retryBudget.percent: percentage 101 is not in range 0..100"),
    ("outlierDetection: {interval: 0s}", f"outlierDetection.interval: {SHORT}"),
    ("outlierDetection: {baseEjectionTime: 0s}", f"outlierDetection.baseEjectionTime: {SHORT}"),
    ("outlierDetection: {maxEjectionPercent: 101}", "outlierDetection.maxEjectionPercent: percentage 101 is not in range 0..100"),
    ("outlierDetection: {minHealthPercent: -1}", "outlierDetection.minHealthPercent: percentage -1 is not in range 0..100"),
    ("outlierDetection: {maxEjectionPercent: 1.5}", "outlierDetection.maxEjectionPercent: Invalid value: 1.5: must be an integer"),
    ("outlierDetection: {consecutive5xxErrors: -1}", "outlierDetection.consecutive5xxErrors: -1 is not in range 0..4294967295"),
    ("outlierDetection: {consecutiveLocalOriginFailures: 1}",
     "outlierDetection.consecutiveLocalOriginFailures: outlier detection consecutive local origin failures is specified, but split "
     "external local origin errors is set to false"),
    ("outlierDetection: {outlierDetectionHttpErrorCodes: [600]}", "outlierDetection.outlierDetectionHttpErrorCodes[0]: HTTP status 600 is not in range 200..599"),
    ("tls: {mode: MUTUAL, clientCertificate: a}", "tls.privateKey: private key required for mutual tls"),
    ("tls: {mode: MUTUAL, privateKey: a}", "tls.clientCertificate: client certificate required for mutual tls"),
    ("tls: {mode: SIMPLE, credentialName: a, caCertificates: b}",
     "tls.credentialName: cannot specify client certificates or CA certificate or CA CRL If credentialName is set"),
    ("tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: b}",
     "tls.caCertificates: cannot specify CaCertificates when InsecureSkipVerify is set true"),
    ("tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [b]}",
     "tls.subjectAltNames: cannot specify SubjectAltNames when InsecureSkipVerify is set true"),
    (f"tls: {{mode: SIMPLE, sni: {'a' * 256}}}", "tls.sni: sni is too long, max length allowed is 255"),
    ('tls: {mode: SIMPLE, sni: "a\\0"}', 'tls.sni: "a\\u0000" contains a line break or NUL'),
    ("portLevelSettings: [{tls: {mode: DISABLE}}]", "portLevelSettings[0].port: Required value"),
    ("portLevelSettings: [{port: {number: 80}}]", "portLevelSettings[0]: port traffic policy must have at least one field"),
    ("portLevelSettings: [{port: {number: 0}, tls: {}}]", "portLevelSettings[0].port.number: port number 0 must be in the range 1..65535"),
    ("portLevelSettings: [{port: {number: 80}, tls: {}}, {port: {number: 80}, tls: {}}]", "portLevelSettings: duplicate port level settings for port 80"),
    ("portLevelSettings: [{port: {number: 80}, outlierDetection: {interval: 1us}}]", f"portLevelSettings[0].outlierDetection.interval: {SHORT}"),
    ("tunnel: {targetHost: a, targetPort: 80, protocol: GET}", 'tunnel.protocol: tunnel protocol must be "CONNECT" or "POST"'),
    ("tunnel: {targetHost: a b, targetPort: 80}",
     'tunnel.targetHost: tunnel target host must be valid FQDN or IP address: domain name "a b" invalid (label "a b" invalid); a b is not a valid IP'),
    ("tunnel: {targetHost: a, targetPort: 0}", "tunnel.targetPort: port number 0 must be in the range 1..65535"),
    ("proxyProtocol: {version: V3}", 'proxyProtocol.version: Unsupported value: "V3": supported values: "V1", "V2"'),
    ("retryBudget: {percent: -0.1}", "retryBudget.percent: percentage -0.1 is not in range 0..100"),
    ("retryBudget: {minRetryConcurrency: -1}", "retryBudget.minRetryConcurrency: -1 is not in range 0..4294967295"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "error"), POLICY, ids=lambda text: text[:60])
def test_traffic_policy(policy: str, error: str) -> None:
    assert _verdict(f"{{host: a, trafficPolicy: {{{policy}}}}}")[0] == [f"spec.trafficPolicy.{error}"]


VALID = [
    "{host: '*.a'}",
    "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [.]}",
    "{host: a, workloadSelector: {matchLabels: {a: b}}, exportTo: [default]}",
    "{host: a, subsets: [{name: v1}, {name: v-2, labels: {}}]}",
    "{host: a, trafficPolicy: {outlierDetection: {}}}",
    "{host: a, trafficPolicy: {connectionPool: {tcp: {idleTimeout: 0s}, http: {idleTimeout: 0s}}}}",
    "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: a, ttl: 0s}, maglev: {tableSize: 65537}}}}}",
    "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: ':path'}}}}",
    "{host: a, trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {distribute: [{from: a/b/*, to: {a/b/*: 80, c/*: 20}}]}}}}",
    "{host: a, trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [app=v1, topology.kubernetes.io/zone]}}}}",
    "{host: a, trafficPolicy: {tls: {mode: MUTUAL, credentialName: a, insecureSkipVerify: true}}}",
    "{host: a, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: a, privateKey: b, caCertificates: c, sni: x, subjectAltNames: [y]}}}",
    "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]}}",
]  # fmt: skip


@pytest.mark.parametrize("spec", VALID)
def test_valid(spec: str) -> None:
    assert _verdict(spec) == ([], [])


DOUBTS = [
    (
        "outlierDetection: {consecutiveErrors: 1}",
        "spec.trafficPolicy.outlierDetection.consecutiveErrors: outlier detection consecutive errors is deprecated, use "
        "consecutiveGatewayErrors or consecutive5xxErrors instead",
    ),
    (
        "loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}",
        "spec.trafficPolicy.loadBalancer.localityLbSetting: outlier detection policy must be provided for failover",
    ),
    (
        "loadBalancer: {consistentHash: {useSourceIp: true, minimumRingSize: 5}}",
        "spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize: consistent hash minimumRingSize is deprecated, use "
        "ConsistentHashLB's RingHash configuration instead",
    ),
    (
        "loadBalancer: {consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 1000000}}}",
        "spec.trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize: Glassmesh's sidecar takes about 3.0s of CPU "
        "time for 1000000 entries whenever the endpoints change, and looks keys up in the entries it had until then",
    ),
    (
        "connectionPool: {tcp: {tcpKeepalive: {probes: 128, time: 32767s}}}",
        "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive.probes: connections fail: Linux takes at most 127 probes",
    ),
    (
        "connectionPool: {tcp: {tcpKeepalive: {probes: 127, time: 32768s}}}",
        "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive.time: connections fail: Linux takes at most 32767s",
    ),
    (
        "loadBalancer: {warmupDurationSecs: 1s}",
        "spec.trafficPolicy.loadBalancer.warmupDurationSecs: warmupDurationSecs is deprecated, use warmup instead",
    ),
    (
        "tls: {mode: ISTIO_MUTUAL, caCertificates: a}",
        "spec.trafficPolicy.tls.caCertificates: caCertificates is not used with mode ISTIO_MUTUAL",
    ),
]


@pytest.mark.parametrize(("policy", "warning"), DOUBTS)
def test_doubts_are_warnings(policy: str, warning: str) -> None:
    assert _verdict(f"{{host: a, trafficPolicy: {{{policy}}}}}") == ([], [warning])
