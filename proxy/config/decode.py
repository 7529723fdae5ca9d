"""Reads one resource from JSON into its typed message, or says what and where is wrong with it.

The text of a refusal goes to the control plane as the NACK and names resource and path, such as
`listeners["0.0.0.0_9080"].filter_chains[0].filters[0].typed_config.foo: not implemented`. A field that Envoy has and
this model lacks is refused as one that does not exist would be: both would be ignored otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from proxy.config.cluster import Cluster
from proxy.config.endpoint import ClusterLoadAssignment
from proxy.config.listener import Listener
from proxy.config.route import RouteConfiguration, VirtualHost
from proxy.config.secret import Secret
from proxy.config.values import Message, decode_hook

M = TypeVar("M", bound=Message)
_PREFIX = "type.googleapis.com/"
CLUSTER = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
SECRET = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

# The last part of each type's REST path, and what a refusal calls its resources.
PATHS = {
    CLUSTER: "clusters",
    ENDPOINT: "endpoints",
    LISTENER: "listeners",
    ROUTE: "routes",
    SECRET: "secrets",
}


class ConfigError(ValueError):
    """A resource that cannot be used; the text is one line naming resource, path and reason."""


def _decoder(message: type[Message], type_url: str) -> Callable[[bytes | msgspec.Raw], Any]:
    # A resource on the wire is an Any, so it carries its own type.
    tagged = type(
        message.__name__, (message,), {"__module__": message.__module__}, tag_field="@type", tag=type_url
    )
    return msgspec.json.Decoder(tagged, dec_hook=decode_hook).decode


_DECODERS = {
    CLUSTER: _decoder(Cluster, CLUSTER),
    ENDPOINT: _decoder(ClusterLoadAssignment, ENDPOINT),
    LISTENER: _decoder(Listener, LISTENER),
    ROUTE: _decoder(RouteConfiguration, ROUTE),
    SECRET: _decoder(Secret, SECRET),
}

_virtual_host = msgspec.json.Decoder(VirtualHost, dec_hook=decode_hook).decode

_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>[^`]+)`$")
_TAG = re.compile(r"^Invalid value '?(?P<value>[^']*)'?$")


def decode(type_url: str, name: str, raw: bytes | msgspec.Raw) -> Any:
    """The typed resource. Raises `ConfigError`."""
    try:
        return _DECODERS[type_url](raw)
    except msgspec.DecodeError as error:
        where = f'{PATHS[type_url]}["{name}"]'
        raise ConfigError(_explain(where, str(error))) from None


def convert(where: str, value: object, message: type[M]) -> M:
    """A message that is no resource, from what JSON was read into; `where` it stands. Raises `ConfigError`."""
    try:
        return msgspec.convert(value, message, dec_hook=decode_hook)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(where, str(error))) from None


def decode_virtual_host(table: str, index: int, raw: bytes) -> VirtualHost:
    """One virtual host of a route configuration. Raises `ConfigError` as `decode` of the whole would."""
    try:
        return _virtual_host(raw)
    except msgspec.DecodeError as error:
        where = f'{PATHS[ROUTE]}["{table}"].virtual_hosts[{index}]'
        raise ConfigError(_explain(where, str(error))) from None


def _explain(where: str, text: str) -> str:
    """msgspec says `REASON - at `$.path``; we say `WHERE.path: REASON`."""
    reason, _, path = text.partition(" - at `")
    at = path.rstrip("`").removeprefix("key in ").removeprefix("$")
    unknown = _UNKNOWN.match(reason)
    if unknown:
        return f"{where}{at}.{unknown['field']}: not implemented"
    if at.endswith(".@type"):
        return f"{where}{at}: {_TAG.sub(lambda m: m['value'], reason)} is not implemented"
    return f"{where}{at}: {reason[:1].lower()}{reason[1:]}"
