"""Cases that share sidecars, and the resources our control plane compiles for them.

Nothing of what is compiled is changed but where it listens: a listener that capture would feed is bound to a loopback port, and behind a
server sidecar stands its app where the original destination would be.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from pydantic import ValidationError

from bench.ports import free_ports
from control.compile.compiler import compile_proxy
from control.compile.protobuf import CLUSTER, LISTENER
from control.mesh_config import MeshConfig
from control.push.context import PushContext
from control.push.manifests import context_of
from control.push.proxy import Proxy
from tests.differential.case.load import BadCase
from tests.differential.case.model import Case, Change, Client, Json
from tests.differential.case.place import (
    LOCALITY,
    TLS_MODE,
    Addresses,
    Placed,
    Pod,
    objects,
    place,
    pod_object,
)
from tests.differential.mesh import LOG_FIELDS

FIELDS = {
    **LOG_FIELDS,
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "direct": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
}
LOG_FORMAT = "LOG\t" + "\t".join(FIELDS.values()) + "\n"
CAPTURE = ("virtualOutbound", "virtualInbound")


@dataclass
class Group:
    """Cases with one client workload and one mesh config."""

    name: str
    client: Client
    mesh: MeshConfig
    placed: list[Placed]
    ip: str
    changes: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))
    """What has been pushed so far, by case."""
    ports: dict[str, int] = field(default_factory=dict)
    """Where the client sidecar's listeners are bound on loopback; the same for each side, one coming after the other."""

    @property
    def has_servers(self) -> bool:
        return any(one.case.at != "client" for one in self.placed)

    def reset(self) -> None:
        """Back to how the cases begin."""
        self.changes.clear()

    def context(self) -> PushContext:
        found = [one for placed in self.placed for one in objects(placed, self.changes[placed.name])]
        labels = {"app": "client", TLS_MODE: "istio", **self.client.labels}
        if self.client.locality:
            labels[LOCALITY] = self.client.locality.replace("/", ".")
        found.append(pod_object("client", self.client.namespace, labels, self.ip, True, {}))
        return context_of(found, self.mesh)

    def client_messages(self, context: PushContext) -> list[Json]:
        """The client sidecar's resources."""
        workload = context.by_ip[self.ip]
        proxy = _proxy(self.ip, "client", self.client.namespace, workload.labels)
        kept = []
        for message in compiled(context, proxy):
            if message["@type"] == LISTENER:
                name = message["name"]
                if name in CAPTURE:
                    continue
                if name not in self.ports:
                    (self.ports[name],) = free_ports(1)
                message |= {"address": _address("127.0.0.1", self.ports[name]), "bind_to_port": True}
            kept.append(message)
        return kept

    def server_messages(self) -> list[Json]:
        """All server sidecars' resources as those of one: each pod's inbound listener at the pod's address."""
        kept: dict[str, Json] = {}
        for placed in self.placed:
            if placed.case.at != "client":
                own = context_of(objects(placed, self.changes[placed.name]), self.mesh)
                for message in (one for pod in placed.pods for one in _server(own, placed, pod)):
                    kept[f"{message['@type']} {message['name']}"] = message
        return list(kept.values())


def groups(cases: Iterable[Case], app_port: int) -> list[Group]:
    """The cases by what they share, each placed. `app_port` is that of every pod without a server sidecar."""
    addresses = Addresses()
    found: dict[str, Group] = {}
    for case in cases:
        key = json.dumps(
            [
                case.client.model_dump(),
                case.mesh,
                case.live,
                case.name if case.alone else "",
            ],
            sort_keys=True,
        )
        if key not in found:
            found[key] = Group(f"{len(found)}", case.client, _mesh(case), [], addresses.of(f"client {key}"))
        (port,) = free_ports(1) if case.at != "client" else (app_port,)
        found[key].placed.append(place(case, addresses, port))
    return list(found.values())


def _mesh(case: Case) -> MeshConfig:
    try:
        return MeshConfig.model_validate({"accessLogFormat": LOG_FORMAT, **case.mesh})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise BadCase(f"{case.source}: {case.name}: mesh.{'; mesh.'.join(problems)}") from None


def invalid(cases: Iterable[Case]) -> dict[str, str]:
    """What the control plane says against the manifests of cases, by case."""
    found = {}
    for case in cases:
        try:
            objects(place(case, Addresses(), 1))
            _mesh(case)
        except BadCase as error:
            found[case.name] = str(error)
    return found


def compiled(context: PushContext, proxy: Proxy) -> list[Json]:
    resources = compile_proxy(context, proxy)
    return [msgspec.json.decode(one.body) for found in resources.values() for one in found.values()]


def _proxy(ip: str, name: str, namespace: str, labels: object) -> Proxy:
    node = f"sidecar~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local"
    return Proxy(node, "sidecar", ip, name, namespace, dict(labels), "app", True, {})  # type: ignore[call-overload]


def _server(context: PushContext, placed: Placed, pod: Pod) -> list[Json]:
    proxy = _proxy(pod.ip, f"{placed.name}-{pod.name}", "default", context.by_ip[pod.ip].labels)
    kept = []
    for message in compiled(context, proxy):
        if message["@type"] == LISTENER and message["name"] == "virtualInbound":
            message |= {"name": f"virtualInbound {pod.ip}", "address": _address(pod.ip, placed.app_port)}
            kept.append(message)
        elif message["@type"] == CLUSTER and message["name"].startswith("inbound|"):
            kept.append(_towards_app(message, pod, placed.app_port))
        elif message["@type"] == CLUSTER and not message["name"].startswith("outbound|"):
            kept.append(message)
    return kept


def _towards_app(cluster: Json, pod: Pod, port: int) -> Json:
    """An inbound cluster sends to the app itself: no capture tells it an original destination."""
    endpoint = {"endpoint": {"address": _address(pod.listens, port)}}
    assignment = {"cluster_name": cluster["name"], "endpoints": [{"lb_endpoints": [endpoint]}]}
    left = {key: of for key, of in cluster.items() if key not in ("lb_policy", "upstream_bind_config")}
    return {**left, "type": "STATIC", "load_assignment": assignment}


def _address(ip: str, port: int) -> Json:
    return {"socket_address": {"address": ip, "port_value": port}}
