"""What each analyzer says, and of what it says nothing."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from control.analysis import ANALYZERS
from control.analysis.message import TYPES, Message
from control.analysis.rules import match_covers
from control.analysis.run import KINDS, analyze

BY_KIND = {kind.kind: kind for kind in KINDS}
WEB = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web, version: v1}}, spec: {containers: [{name: a, image: a}]}}
---
"""
DEFAULTS = {
    "Service": "v1",
    "Namespace": "v1",
    "Pod": "v1",
    "Secret": "v1",
    "Deployment": "apps/v1",
    "PeerAuthentication": "security.istio.io/v1",
    "LocalRateLimit": "glassmesh.io/v1alpha1",
}


def _documents(text: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {kind.resource: [] for kind in KINDS}
    for document in yaml.safe_load_all(text):
        if document:
            kind = BY_KIND[document["kind"]]
            document.setdefault("apiVersion", DEFAULTS.get(kind.kind, "networking.istio.io/v1"))
            if kind.namespaced:
                document["metadata"].setdefault("namespace", "default")
            found[kind.resource].append(document)
    return found


def _messages(text: str, objects: str = WEB) -> list[Message]:
    documents = _documents(objects + text)
    before = copy.deepcopy(documents)
    found = analyze(documents, domain="cluster.local", root_namespace="istio-system").messages
    assert documents == before
    return found


def _said(text: str, objects: str = WEB) -> list[str]:
    return [f"{m.type.code} {m.name} {m.path}".strip() for m in _messages(text, objects)]


def _vs(name: str, spec: str, kind: str = "VirtualService", more: str = "") -> str:
    return f"\n---\n{{kind: {kind}, metadata: {{name: {name}{more}}}, spec: {{{spec}}}}}\n"


def _dr(name: str, spec: str) -> str:
    return _vs(name, spec, "DestinationRule")


TO = "route: [{destination: {host: web}}]"
GATEWAY = _vs(
    "gw",
    "selector: {app: web}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [%s]}]",
    "Gateway",
)

CASES: dict[str, tuple[str, list[str]]] = {
    "nothing": (_vs("a", f"hosts: [web], http: [{{{TO}}}]"), []),
    "two for one host": (
        _vs("a", f"hosts: [web], http: [{{{TO}}}]") + _vs("b", f"hosts: [web.default.svc.cluster.local], http: [{{{TO}}}]"),
        ["IST0109 a spec.hosts[0]", "IST0109 b spec.hosts[0]"],
    ),
    "two for one host that never meet": (
        _vs("a", f"hosts: [x.org], exportTo: [.], http: [{{{TO}}}]")
        + _vs("b", "hosts: [x.org], exportTo: [.], http: [{route: [{destination: {host: web.default.svc.cluster.local}}]}]", more=", namespace: other"),
        [],
    ),
    "two for one host at gateways": (
        GATEWAY % "'*'"
        + _vs("a", f"hosts: [x.org], gateways: [gw], http: [{{{TO}}}]")
        + _vs("b", f"hosts: [x.org], gateways: [gw], http: [{{{TO}}}]"),
        [],
    ),
    "unknown host and subset": (
        _vs("a", "hosts: [web], http: [{route: [{destination: {host: web, subset: v9}, weight: 1}, {destination: {host: gone}, weight: 1}]}]"),
        ["IST0101 a spec.http[0].route[0].destination.subset", "IST0101 a spec.http[0].route[1].destination.host"],
    ),
    "mirrors are destinations": (
        _vs("a", f"hosts: [web], http: [{{mirror: {{host: gone}}, {TO}}}, {{match: [{{port: 1}}], mirrors: [{{destination: {{host: gone}}}}], {TO}}}]"),
        ["IST0101 a spec.http[0].mirror.host", "IST0101 a spec.http[1].mirrors[0].destination.host", "IST0130 a spec.http[1]"],
    ),
    "subset of a rule of another namespace": (
        "\n---\n{kind: DestinationRule, metadata: {name: r, namespace: other}, spec: {host: web.default.svc.cluster.local, subsets: [{name: v1, labels: {version: v1}}]}}\n"
        + _vs("a", "hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]"),
        [],
    ),
    "several ports": (
        _vs("many", "selector: {app: many}, ports: [{name: http, port: 80}, {name: http-b, port: 81}]", "Service")
        + _vs("a", "hosts: [many], http: [{route: [{destination: {host: many}}]}]")
        + _vs("b", "hosts: [web], http: [{route: [{destination: {host: many, port: {number: 81}}}]}]"),
        ["IST0112 a spec.http[0].route[0].destination"],
    ),
    "a port the service does not have": (
        _vs("a", f"hosts: [web], http: [{{mirror: {{host: web, port: {{number: 99}}}}, {TO}}}]"),
        ["IST0101 a spec.http[0].mirror.port.number"],
    ),
    "unknown gateway": (_vs("a", f"hosts: [x.org], gateways: [gone, mesh], http: [{{{TO}}}]"), ["IST0101 a spec.gateways[0]"]),
    "host not in gateway": (
        GATEWAY % "'*.y.org'" + _vs("a", f"hosts: [x.org], gateways: [gw], http: [{{{TO}}}]"),
        ["IST0132 a spec.gateways[0]"],
    ),
    "host in gateway": (
        GATEWAY % "'*.y.org', ./x.org" + _vs("a", f"hosts: [x.org, a.y.org], gateways: [default/gw], http: [{{{TO}}}]"),
        [],
    ),
    "rule after a catch-all": (
        _vs("a", f"hosts: [web], http: [{{{TO}}}, {{match: [{{uri: {{prefix: /a}}}}], {TO}}}, {{{TO}}}]"),
        ["IST0130 a spec.http[1]", "IST0130 a spec.http[2]"],
    ),
    "rule after prefix /": (
        _vs("a", f"hosts: [web], http: [{{match: [{{uri: {{prefix: /}}}}], {TO}}}, {{{TO}}}]"),
        ["IST0130 a spec.http[1]"],
    ),
    "match like an earlier one": (
        _vs("a", f"hosts: [web], http: [{{match: [{{uri: {{prefix: /a}}}}], {TO}}}, {{match: [{{uri: {{exact: /a/b}}}}, {{uri: {{exact: /c}}}}], {TO}}}, {{{TO}}}]"),
        ["IST0131 a spec.http[1].match[0]"],
    ),
    "tcp and tls rules": (
        _vs("a", f"hosts: [web], tcp: [{{{TO}}}, {{match: [{{port: 80}}], {TO}}}], tls: [{{match: [{{sniHosts: [web]}}], {TO}}}, {{match: [{{sniHosts: [web], port: 443}}], {TO}}}]"),
        ["IST0130 a spec.tls[1]", "IST0130 a spec.tcp[1]"],
    ),
    "delegates": (
        _vs("root", "hosts: [web], http: [{match: [{uri: {prefix: /a}}], delegate: {name: d}}, {match: [{uri: {prefix: /b}}], delegate: {name: gone}}, {match: [{uri: {prefix: /c}}], delegate: {name: other}}]")
        + _vs("d", f"http: [{{{TO}}}]") + _vs("e", f"http: [{{{TO}}}]") + _vs("other", f"hosts: [x.org], http: [{{{TO}}}]"),
        ["GM0102 root spec.http[2].delegate", "IST0101 root spec.http[1].delegate", "GM0103 e spec.hosts"],
    ),
    "delegate's rule outside of the root's": (
        _vs("root", "hosts: [web], http: [{name: shop, match: [{uri: {prefix: /a}}], delegate: {name: d}}]")
        + _vs("d", f"http: [{{match: [{{uri: {{prefix: /a/b}}}}], {TO}}}, {{match: [{{uri: {{prefix: /b}}}}], {TO}}}, {{match: [{{headers: {{x: {{}}}}}}], {TO}}}]"),
        ["GM0104 root spec.http[0].delegate"],
    ),
    "delegate kept to another namespace": (
        _vs("root", "hosts: [web], http: [{delegate: {name: d, namespace: other}}]")
        + _vs("d", "exportTo: [.], http: [{route: [{destination: {host: web.default}}]}]", more=", namespace: other"),
        ["GM0102 root spec.http[0].delegate", "IST0101 d spec.http[0].route[0].destination.host"],
    ),
    "fault with retries": (
        _vs("a", f"hosts: [web], http: [{{fault: {{abort: {{httpStatus: 500, percentage: {{value: 1}}}}}}, retries: {{attempts: 1}}, {TO}}}]"),
        ["IST0133 a spec.http[0].fault"],
    ),
    "two rules for one host": (
        _dr("a", "host: web, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}") + _dr("b", "host: web.default.svc.cluster.local"),
        ["GM0101 a spec.host", "GM0101 b spec.host"],
    ),
    "rules for clients of their own": (
        _dr("a", "host: web, workloadSelector: {matchLabels: {app: web}}") + _dr("b", "host: web"), [],
    ),
    "rule for an unknown host": (_dr("a", "host: gone"), ["IST0174 a spec.host"]),
    "rule for a host outside": (_dr("a", "host: '*.example.org'"), []),
    "subset without pods": (
        _dr("a", "host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"),
        ["IST0173 a spec.subsets[1]"],
    ),
    "servers not verified": (
        _dr("a", "host: web, trafficPolicy: {tls: {mode: SIMPLE}, portLevelSettings: [{port: {number: 80}, tls: {mode: MUTUAL, clientCertificate: a, privateKey: b}}]}"),
        ["IST0128 a spec.trafficPolicy.tls", "IST0129 a spec.trafficPolicy.portLevelSettings[0].tls"],
    ),
    "servers verified": (_dr("a", "host: web, trafficPolicy: {tls: {mode: SIMPLE, caCertificates: /ca}}"), []),
    "plaintext to strict": (
        _dr("a", "host: web, trafficPolicy: {tls: {mode: DISABLE}}") + _vs("strict", "mtls: {mode: STRICT}", "PeerAuthentication"),
        ["IST0113 a spec.trafficPolicy.tls"],
    ),
    "mutual to disable": (
        _dr("a", "host: web, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}")
        + _vs("none", "mtls: {mode: DISABLE}", "PeerAuthentication", ", namespace: istio-system"),
        ["IST0113 a spec.trafficPolicy.tls"],
    ),
    "selector of nobody": (
        _vs("a", "selector: {matchLabels: {app: gone}}, mtls: {mode: STRICT}", "PeerAuthentication"),
        ["IST0127 a spec.selector"],
    ),
    "rate limits": (
        _vs("a", f"hosts: [web], http: [{{name: one, {TO}}}]")
        + _vs("l", "tokenBucket: {maxTokens: 1, fillInterval: 1s}, routes: [{virtualService: a, names: [one, two]}, {virtualService: gone}]", "LocalRateLimit")
        + _vs("m", "tokenBucket: {maxTokens: 1, fillInterval: 1s}, selector: {matchLabels: {app: gone}}", "LocalRateLimit"),
        ["IST0101 l spec.routes[0].names[1]", "IST0101 l spec.routes[1].virtualService", "IST0127 m spec.selector"],
    ),
    "gateway of nobody": (
        _vs("a", "selector: {app: gone}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]", "Gateway"),
        ["IST0101 a spec.selector"],
    ),
    "gateway port": (
        _vs("a", "selector: {app: web}, servers: [{port: {number: 81, name: http, protocol: HTTP}, hosts: ['*']}]", "Gateway"),
        ["IST0104 a spec.servers[0].port.number"],
    ),
    "gateway certificate": (
        _vs("a", "selector: {app: web}, servers: [{port: {number: 80, name: https, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: gone}}]", "Gateway"),
        ["IST0101 a spec.servers[0].tls.credentialName"],
    ),
    "gateways of one port": (
        GATEWAY % "a.org, b.org" + (GATEWAY % "b.org").replace("name: gw", "name: gw2"),
        ["IST0145 gw spec.servers[0]", "IST0145 gw2 spec.servers[0]"],
    ),
    "namespaces": (
        "\n---\n{kind: Namespace, metadata: {name: a}}\n---\n{kind: Namespace, metadata: {name: b, labels: {istio-injection: disabled}}}\n---\n{kind: Namespace, metadata: {name: kube-system}}\n",
        ["IST0102 a metadata.labels"],
    ),
    "pods": (
        "\n---\n{kind: Namespace, metadata: {name: a, labels: {istio-injection: enabled}}}"
        + "".join(
            f"\n---\n{{kind: Pod, metadata: {{name: {name}, namespace: a{more}}}, spec: {{containers: [{{name: {container}, image: i}}]}}}}\n"
            for name, container, more in (("p", "app", ""), ("q", "istio-proxy", ""), ("r", "app", ", labels: {sidecar.istio.io/inject: 'false'}"), ("s", "app", ", annotations: {glassmesh.io/auto-registered: 'true'}"))
        ),
        ["IST0103 p"],
    ),
    "port names": (
        _vs("s", "selector: {a: b}, ports: [{name: web, port: 8000}, {name: tcp-x, port: 1}, {name: y, port: 2, appProtocol: http}, {name: z, port: 3, protocol: UDP}]", "Service"),
        ["IST0118 s spec.ports[0].name"],
    ),
    "services of one deployment": (
        _vs("s", "selector: {app: web}, ports: [{name: http, port: 8080, targetPort: 80}]", "Service")
        + _vs("t", "selector: {app: web}, ports: [{name: udp, port: 80, protocol: UDP}]", "Service"),
        ["IST0116 web", "IST0137 web"],
    ),
    "annotations": (
        "\n---\n{kind: Namespace, metadata: {name: a, labels: {istio-injection: disabled}, annotations: {sidecar.istio.io/inject: 'true', "
        "networking.istio.io/colour: red, example.org/a: b}}}\n",
        ["IST0107 a metadata.annotations", "IST0108 a metadata.annotations"],
    ),
    "what the API would refuse": (
        _vs("a", "hosts: [web], http: [{match: [{uri: {regex: (}}], timeout: 1us}]"),
        [
            "IST0106 a spec.http[0]",
            "IST0106 a spec.http[0].match[0].uri.regex",
            "IST0106 a spec.http[0].timeout",
            "IST0122 a spec.http[0].match[0].uri.regex",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_analyzers(case: str) -> None:
    text, expected = CASES[case]
    assert sorted(_said(text)) == sorted(expected)


def test_every_type_of_message_is_shown_by_a_case() -> None:
    shown = {code.partition(" ")[0] for _, expected in CASES.values() for code in expected}
    assert {each.code for each in TYPES} == shown
    assert len({analyzer.name for analyzer in ANALYZERS}) == len(ANALYZERS)


def test_every_code_is_documented_and_none_else() -> None:
    text = (Path(__file__).parents[4] / "docs/analyze.md").read_text()
    codes = set(re.findall(r"(?:IST|GM)\d{4}", text))
    assert codes == {each.code for each in TYPES}
    assert all(each.name.split("Level")[0][:28] in text for each in TYPES)


WORDS = [
    (
        CASES["two for one host"][0],
        "Error [IST0109] (VirtualService default/a) The VirtualServices default/a,default/b associated with mesh gateway define the "
        "same host web.default.svc.cluster.local which can lead to undefined behavior. This can be fixed by merging the conflicting "
        "VirtualServices into a single resource.",
    ),
    (
        CASES["unknown host and subset"][0],
        'Error [IST0101] (VirtualService default/a) Referenced host not found: "gone"',
    ),
    (
        CASES["unknown host and subset"][0],
        'Error [IST0101] (VirtualService default/a) Referenced host+subset in destinationrule not found: "web+v9"',
    ),
    (
        CASES["rule after a catch-all"][0],
        "Warning [IST0130] (VirtualService default/a) VirtualService rule #1 not used (only the last rule can have no matches).",
    ),
    (
        CASES["match like an earlier one"][0],
        "Info [IST0131] (VirtualService default/a) VirtualService rule #1 match #0 is not used (duplicate/overlapping match in rule #0).",
    ),
    (
        CASES["several ports"][0],
        'Error [IST0112] (VirtualService default/a) This VirtualService routes to a service "many" that exposes multiple ports [80 81]. '
        "Specifying a port in the destination is required to disambiguate.",
    ),
    (
        CASES["host not in gateway"][0],
        "Warning [IST0132] (VirtualService default/a) one or more host [x.org] defined in VirtualService default/a not found in Gateway gw.",
    ),
    (
        CASES["delegate's rule outside of the root's"][0],
        'Warning [GM0104] (VirtualService default/root) Rule #1 of the delegate "default/d" is dropped: a match of it does not lie inside '
        'any match of rule "shop".',
    ),
    (CASES["pods"][0], "Warning [IST0103] (Pod a/p) The pod a/p is missing the Istio proxy. This can often be resolved by restarting or redeploying the workload."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), WORDS)
def test_words(text: str, line: str) -> None:
    assert line in [message.line() for message in _messages(text)]


COVERS = [
    ("{}", "{}", True),
    ("{}", "{uri: {exact: /a}, port: 80}", True),
    ("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}}", True),
    ("{uri: {prefix: /a/b}}", "{uri: {prefix: /a}}", False),
    ("{uri: {prefix: /a}}", "{uri: {regex: /a.*}}", False),
    ("{uri: {regex: /a.*}}", "{uri: {regex: /a.*}}", True),
    ("{uri: {regex: .*}}", "{uri: {regex: /b}}", True),
    ("{uri: {exact: /a}}", "{}", False),
    ("{uri: {prefix: /A}, ignoreUriCase: true}", "{uri: {prefix: /a/b}}", True),
    ("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}, ignoreUriCase: true}", False),
    ("{method: {exact: GET}}", "{method: {exact: GET}, port: 80}", True),
    ("{method: {exact: GET}}", "{}", False),
    ("{method: {regex: '*'}}", "{method: {exact: GET}}", True),
    ("{headers: {a: {}}}", "{headers: {A: {exact: b}, c: {}}}", True),
    ("{headers: {a: {exact: b}}}", "{headers: {a: {}}}", False),
    ("{headers: {a: {prefix: /}}}", "{headers: {a: {exact: b}}}", False),
    ("{withoutHeaders: {a: {}}}", "{withoutHeaders: {a: {}}}", True),
    ("{withoutHeaders: {a: {}}}", "{}", False),
    ("{}", "{withoutHeaders: {a: {}}}", True),
    ("{queryParams: {a: {}}}", "{queryParams: {a: {exact: ''}}}", True),
    ("{port: 80}", "{port: 81}", False),
    ("{sourceLabels: {a: b}}", "{sourceLabels: {a: b, c: d}}", True),
    ("{sourceLabels: {a: b, c: d}}", "{sourceLabels: {a: b}}", False),
    ("{gateways: [a, mesh]}", "{gateways: [mesh]}", True),
    ("{gateways: [mesh]}", "{}", False),
    ("{destinationSubnets: [10.0.0.0/8]}", "{destinationSubnets: [10.0.0.0/8], port: 1}", True),
    ("{sniHosts: ['*.a']}", "{sniHosts: [b.a]}", True),
    ("{sniHosts: [b.a]}", "{sniHosts: ['*.a']}", False),
]


@pytest.mark.parametrize(("wide", "narrow", "covers"), COVERS)
def test_match_covers(wide: str, narrow: str, covers: bool) -> None:
    assert match_covers(yaml.safe_load(wide), yaml.safe_load(narrow)) is covers
