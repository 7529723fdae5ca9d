"""A proxy's resources, by name, ready to be asked: as they were sent and as the sidecar reads them.

Reference: ARCHITECTURE.md, "Envoy's configuration is the contract".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from control.compile.compiler import compile_proxy
from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER, ROUTE
from control.push.context import PushContext
from control.push.proxy import Proxy
from proxy.config.decode import decode

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Messages by name; endpoints by cluster name."""

    listeners: Mapping[str, Message]
    routes: Mapping[str, Message]
    clusters: Mapping[str, Message]
    endpoints: Mapping[str, Message]


def configuration(
    listeners: Iterable[Message],
    routes: Iterable[Message],
    clusters: Iterable[Message],
    endpoints: Iterable[Message],
) -> Configuration:
    return Configuration(
        {message["name"]: message for message in listeners},
        {message["name"]: message for message in routes},
        {message["name"]: message for message in clusters},
        {message["cluster_name"]: message for message in endpoints},
    )


def compiled(context: PushContext, proxy: Proxy) -> Configuration:
    """What the control plane would send to a proxy."""
    found = compile_proxy(context, proxy)
    kinds = [
        [json.loads(one.body) for one in found.get(url, {}).values()]
        for url in (LISTENER, ROUTE, CLUSTER, ENDPOINT)
    ]
    return configuration(*kinds)


def typed(type_url: str, message: Message) -> Any:
    """The message as our sidecar reads it. Raises ConfigError for what it would refuse."""
    name = str(message.get("name") or message.get("cluster_name") or "")
    return decode(type_url, name, json.dumps({"@type": type_url, **message}).encode())
