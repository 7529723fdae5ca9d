"""What a VirtualService's match becomes in Envoy's route table.

Labels, namespace, gateway and port of a match are decided here, when configuration is made; the rest by the proxy, per request.
Reference: istio's pilot/pkg/networking/core/route/route.go (TranslateRouteMatch).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from control.compile.protobuf import Message
from control.push.config import resolve_gateway
from control.resources.http_rule import HTTPMatchRequest
from control.resources.istio_types import MESH_GATEWAY, StringMatch

CATCH_ALL: Message = {"prefix": "/"}


@dataclass(frozen=True, slots=True)
class Audience:
    """For whom a route table is made: a client sidecar, or one Gateway; and the port it listens on."""

    namespace: str
    labels: Mapping[str, str]
    port: int
    gateways: frozenset[str]  # {"mesh"}, or names `namespace/name`
    tls: bool = False  # the listener ends TLS
    forwarded_host: bool = False  # `x-forwarded-host` tells of rewritten hosts

    def refusal(self, match: HTTPMatchRequest, config_namespace: str) -> str | None:
        """Why a match cannot hold at all for this audience; None when it can."""
        if match.port is not None and match.port != self.port:
            return f"is for port {match.port}"
        if match.gateways:
            # As Istio: a match that names gateways is independent of where the client is.
            named = {resolve_gateway(name, config_namespace) for name in match.gateways}
            return None if named & self.gateways else f"is for gateways {', '.join(sorted(named))}"
        if MESH_GATEWAY not in self.gateways:
            return None
        if match.sourceNamespace and match.sourceNamespace != self.namespace:
            return f"is for clients in namespace {match.sourceNamespace}"
        wanted = match.sourceLabels or {}
        if all(self.labels.get(key) == value for key, value in wanted.items()):
            return None
        return f"is for clients with labels {', '.join(f'{key}={value}' for key, value in sorted(wanted.items()))}"


def route_match(match: HTTPMatchRequest | None) -> Message:
    if match is None:
        return CATCH_ALL
    message = _path(match)
    headers = list(_headers(match))
    if headers:
        message["headers"] = headers
    if match.queryParams:
        message["query_parameters"] = [_value(name, value) for name, value in match.queryParams.items()]
    return message


def is_catch_all(message: Message) -> bool:
    return message.get("prefix") == "/" and not message.get("headers") and not message.get("query_parameters")


def wants_claims(match: HTTPMatchRequest) -> bool:
    """Whether a match asks for JWT claims, which nothing provides yet: it can never hold."""
    return any(map(_is_claim, match.headers or {}))


def _is_claim(key: str) -> bool:
    return key.startswith(("@request.auth", "[@request.auth"))


def _path(match: HTTPMatchRequest) -> Message:
    uri = match.uri
    if uri is None or uri == StringMatch():
        return dict(CATCH_ALL)
    if uri.regex is not None:
        return {"safe_regex": {"regex": ".*" if uri.regex == "*" else uri.regex}}
    message: Message = {"path": uri.exact} if uri.exact is not None else {"prefix": uri.prefix}
    if match.ignoreUriCase:
        message["case_sensitive"] = False
    return message


def _headers(match: HTTPMatchRequest) -> Iterator[Message]:
    """Those of the match by name, then the pseudo headers, as Istio sorts them."""
    named = [_value(name.lower(), value) for name, value in (match.headers or {}).items()]
    named += _without(match.withoutHeaders or {})
    yield from sorted(named, key=lambda matcher: str(matcher["name"]))
    for name, pseudo in (
        (":method", match.method),
        (":authority", match.authority),
        (":scheme", match.scheme),
    ):
        if pseudo is not None:
            yield _value(name, pseudo)


def _without(headers: Mapping[str, StringMatch]) -> Iterator[Message]:
    for name, value in headers.items():
        if _is_claim(name):
            continue  # no request has claims: it always holds
        matcher = _value(name.lower(), value)
        matcher["invert_match"] = True
        if "string_match" in matcher:
            matcher["treat_missing_header_as_empty"] = True
        yield matcher


def _string_matcher(value: StringMatch) -> Message | None:
    """None when the value does not matter."""
    if value.exact is not None:
        return {"exact": value.exact}
    if value.prefix is not None:
        return {"prefix": value.prefix}
    if value.regex is None or value.regex == "*":
        return None
    return {"safe_regex": {"regex": value.regex}}


def _value(name: str, value: StringMatch) -> Message:
    matcher = _string_matcher(value)
    return (
        {"name": name, "present_match": True} if matcher is None else {"name": name, "string_match": matcher}
    )
