"""Random manifests: objects of a kind made from its own model, with values at the edges; and mutations that break them.

Values are drawn by the name of their field where it has a meaning (a host, a duration), else by its type. Everything is decided by the
`Random` given, so a failure is repeated by its seed.
"""

from __future__ import annotations

import copy
import re
from random import Random
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from control.resources.kind import Kind
from control.resources.model import Model

TEXTS: dict[str, list[Any]] = {
    "host": ["web", "api", "web.default.svc.cluster.local", "unknown", "*.wild.example", "a.b"],
    "subset": ["v1", "v2", "v9"],
    "namespace": ["default", "other"],
    "sourceNamespace": ["default", "other"],
    "scheme": ["http", "https"],
    "retryOn": [
        "5xx",
        "503",
        "503,reset",
        "gateway-error,connect-failure",
        "retriable-headers",
        "unavailable,404",
    ],
    "grpcStatus": ["UNAVAILABLE", "OK", "NOT_FOUND"],
    "regex": [".*", "[0-9]+", "*", "a|b", "(a)(b)", "\\d", "^/x$", "é+", "a{1,3}"],
    "prefix": ["/", "/a", "/a/b", "x", "%"],
    "exact": ["", "/", "/a", "x", "%", "a b", "é"],
    "match": ["/a", "^/(.*)$", "(a)", ".*"],
    "rewrite": ["/b", "/\\1", "x", "\\0", "\\2", "a\\"],
    "uri": ["/", "/b", "b", "/b?c=d", "/é"],
    "authority": ["other", "other:80", "a.b"],
    "httpHeaderName": ["x-key", "User-Agent", ":path"],
    "httpQueryParameterName": ["q", "é"],
    "path": ["/", "/a", ""],
    "protocol": ["CONNECT", "POST"],
    "targetHost": ["a.b", "10.0.0.1"],
    "sni": ["a.b", ""],
    "string": ["", "hello", "é\n"],
    "bytes": ["", "aGVsbG8=", "AA=="],
    "name": ["a", "b", "x-y", "A B"],
    "statPrefix": ["a", "a.b", ""],
    "failoverPriority": ["topology.kubernetes.io/region", "app", "app=web"],
    "destinationSubnets": ["10.0.0.0/8", "10.1.2.3", "::/0"],
    "sourceSubnet": ["10.0.0.0/8"],
    "sniHosts": ["web", "*.wild.example"],
    "gateways": ["mesh", "gw"],
    "allowMethods": ["GET", "*", "POST"],
    "allowHeaders": ["x-a", "*"],
    "exposeHeaders": ["x-a"],
    "subjectAltNames": ["a.b", "spiffe://x/y"],
    "allowOrigin": ["*", "http://a.b"],
    "from": ["region1", "region1/zone1", "region1/zone1/*", "*"],
    "remove": ["a", "X-B", "cookie"],
    "exportTo": ["*", ".", "default"],
}
DURATIONS = ["1s", "0s", "1ms", "1.5s", "1m", "250ms", "3600s"]
_TIMES = {
    "timeout", "perTryTimeout", "backoff", "fixedDelay", "maxAge", "ttl", "duration", "warmupDurationSecs", "connectTimeout",
    "maxConnectionDuration", "idleTimeout", "interval", "time", "baseEjectionTime",
}  # fmt: skip
_NEVER = {
    "delegate",
    "exponentialDelay",
    "http2Error",
    "clientCertificate",
    "privateKey",
    "caCertificates",
    "caCrl",
    "credentialName",
}
KEYS: dict[str, list[str]] = {
    "headers": ["a", "X-B", ":path", ":method", "cookie"],
    "withoutHeaders": ["a", "X-B", "cookie"],
    "set": ["a", "X-B", "Host", ":authority", "x-envoy-upstream-rq-timeout-ms"],
    "add": ["a", "X-B", "set-cookie"],
    "queryParams": ["q", "é", "a b"],
    "sourceLabels": ["app", "version"],
    "labels": ["version", "app"],
    "matchLabels": ["app"],
    "to": ["region1/zone1/*", "region2", "region3/a"],
}
VALUES: dict[str, list[Any]] = {
    "set": ["b", "", "%PROTOCOL%", "100%%", "é", "%REQ(x-a)%", "%START_TIME%"],
    "add": ["b", "", "%UPSTREAM_HOST%", "%DOWNSTREAM_REMOTE_ADDRESS%"],
    "labels": ["v1", "v2", "web"],
    "to": [100, 50, 30, 20],
    "sourceLabels": ["web", "v1"],
}
NUMBERS = [0, 1, 2, 80, 100, 503, 200, 308, 65537, 2**31 - 1]
_BY_NAME: dict[str, list[Any]] = {
    "number": [80, 81], "port": [80, 81, 443], "targetPort": [80], "status": [200, 404, 503, 599], "redirectCode": [301, 308],
    "httpStatus": [200, 400, 555], "weight": [0, 1, 50, 100], "attempts": [0, 1, 3], "percent": [0, 50, 100], "mirrorPercent": [0, 100],
    "mirror_percent": [50], "tableSize": [65537, 7, 5000011], "minimumRingSize": [0, 1024, 8388608], "aggression": [1, 1.5, 3],
    "minimumPercent": [0, 10, 100], "maxEjectionPercent": [0, 10, 100], "minHealthPercent": [0, 50], "value": [0, 0.0001, 12.5, 100],
    "outlierDetectionHttpErrorCodes": [500, 503],
}  # fmt: skip


# Fields of which one is drawn; the first as often as it is named.
_ONE_OF: dict[str, tuple[tuple[str, ...], ...]] = {
    "HTTPRoute": (("route", "route", "route", "redirect", "directResponse"), ("mirror", "mirrors")),
    "StringMatch": (("exact", "prefix", "regex", ""),),
    "FaultAbort": (("httpStatus", "grpcStatus"),),
    "HTTPBody": (("string", "bytes"),),
    "HTTPRewrite": (("uri", "authority", "uriRegexRewrite"),),
    "LoadBalancer": (("simple", "consistentHash"),),
    "ConsistentHash": (
        ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        ("ringHash", "maglev", "minimumRingSize", ""),
    ),
    "LocalityLoadBalancerSetting": (("distribute", "failover", "failoverPriority"),),
    "HTTPRedirect": (("port", "derivePort"),),
}
_ALONE = ("redirect", "directResponse")  # what answers by itself goes with none of
_NOT_WITH = ("fault", "rewrite", "mirror", "mirrors")


class Documents:
    """Makes values for annotations of a model; about half of the optional fields are set, fewer the deeper it goes."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def model(self, model: type[Model], depth: int = 0) -> dict[str, Any]:
        fields = model.model_fields
        chance = max(0.08, 0.5 - 0.09 * depth)
        chosen = [
            n
            for n, f in fields.items()
            if f.is_required() or (n not in _NEVER and self._random.random() < chance)
        ]
        if not chosen and fields:
            chosen = [self._random.choice([n for n in fields if n not in _NEVER])]
        for group in _ONE_OF.get(model.__name__, ()):
            one = self._random.choice(group)
            chosen = [name for name in chosen if name not in group] + [one] * bool(one)
        if any(name in chosen for name in _ALONE):
            chosen = [name for name in chosen if name not in _NOT_WITH]
        return {name: self.value(name, fields[name].annotation, depth + 1) for name in chosen}

    def value(self, name: str, annotation: Any, depth: int) -> Any:
        pick = self._random.choice
        origin, args = get_origin(annotation), get_args(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Model):
            return self.model(annotation, depth)
        if origin is Annotated:
            return self.value(name, args[0], depth)
        if origin in (Union, UnionType):
            return self.value(name, next(option for option in args if option is not NoneType), depth)
        if origin is list:
            return [self.value(name, args[0], depth) for _ in range(self._random.randint(1, 2))]
        if origin is dict:
            names = KEYS.get(name, ["a"])
            keys = self._random.sample(names, min(self._random.randint(1, 2), len(names)))
            if get_origin(args[1]) is None and not issubclass(args[1], Model):
                return {key: pick(VALUES.get(name, ["a"])) for key in keys}
            return {key: self.value(name, args[1], depth) for key in keys}
        if origin is Literal:
            return pick(args)
        if annotation is bool:
            return pick([True, False])
        if annotation in (int, float):
            return pick(_BY_NAME.get(name, NUMBERS))
        return pick(DURATIONS if name in _TIMES else TEXTS.get(name, ["a"]))


STRANGE: list[Any] = [
    None,
    0,
    -1,
    1.5,
    10**20,
    "",
    "a",
    "%",
    "\0",
    "\n",
    "\ud800",
    True,
    [],
    [None],
    ["x"],
    {},
    {"a": None},
    {"": ""},
    {"a": {"b": []}},
]


def mutated(random: Random, document: Any) -> Any:
    """A copy with one to three places changed: removed, replaced by something of another shape, doubled, or unknown."""
    copied = copy.deepcopy(document)
    for _ in range(random.randint(1, 3)):
        holder = _somewhere(random, copied)
        if isinstance(holder, dict):
            key = random.choice([*holder, "unknown"])
            if random.random() < 0.2:
                holder.pop(key, None)
            else:
                holder[key] = copy.deepcopy(random.choice(STRANGE))
        elif holder:
            index = random.randrange(len(holder))
            holder[index] = random.choice([copy.deepcopy(random.choice(STRANGE)), holder[0]])
    return copied


def _somewhere(random: Random, node: Any) -> Any:
    """A mapping or list inside, any depth."""
    while True:
        inner = [
            v for v in (node.values() if isinstance(node, dict) else node) if isinstance(v, dict | list) and v
        ]
        if not inner or random.random() < 0.25:
            return node
        node = random.choice(inner)


def repaired(kind: Kind, document: Any) -> Any | None:
    """The document without what validation refuses of it; None when nothing is left."""
    for _ in range(12):
        errors = kind.validate(document).errors
        if not errors:
            return document
        for path in sorted(
            {error.path for error in errors}, reverse=True
        ):  # later items first, so that indexes hold
            _remove(document, re.findall(r"\[\d+\]|[^.\[]+", path))
        if not document.get("spec"):
            return None
    return None


def _remove(node: Any, parts: list[str]) -> None:
    """Remove what is at a path, or as much of the way as is there."""
    for index, part in enumerate(parts):
        key: Any = int(part[1:-1]) if part.startswith("[") else part
        there = (
            key in node
            if isinstance(node, dict)
            else isinstance(node, list) and isinstance(key, int) and key < len(node)
        )
        if not there:
            return
        last = index == len(parts) - 1 or not isinstance(node[key], dict | list)
        if last:
            del node[key]
            return
        node = node[key]
