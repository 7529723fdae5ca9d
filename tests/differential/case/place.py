"""Where a case lives: addresses of its client and pods, and the objects a cluster would hold for it.

Addresses are loopback ones where the apps really listen, the same for both implementations, so that a hash of an address falls
the same way. They follow from the case's name, so that a case does not change when others come or go.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from control.push.manifests import BadManifest, read
from tests.differential.case.load import BadCase
from tests.differential.case.model import App, Case, Change, Json

TLS_MODE = "security.istio.io/tlsMode"
LOCALITY = "istio-locality"


class Addresses:
    """Gives each asker an address of 127.32.0.0/11, or of 10.96.0.0/12 for a Service, that follows from a text."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def of(self, text: str) -> str:
        number = self._number(text, 1 << 21)
        return f"127.{32 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    def of_service(self, name: str) -> str:
        number = self._number(name, 1 << 20)
        return f"10.{96 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"

    def _number(self, text: str, count: int) -> int:
        number = zlib.crc32(text.encode()) % count
        while number in self._given or number % 256 in (0, 255):
            number = (number + 1) % count
        self._given.add(number)
        return number


@dataclass(frozen=True)
class Pod:
    """One pod of a case. The app listens at `listens`, which is `ip` unless the pod has a server sidecar."""

    name: str
    app: str
    script: App
    service: str
    ip: str
    listens: str


@dataclass
class Placed:
    """A case with addresses: of its pods, its requests by `source` number, its Services (their own first).

    `app_port` is where its pods listen.
    """

    case: Case
    pods: list[Pod]
    clients: dict[int, str]
    services: dict[str, str]
    app_port: int

    @property
    def name(self) -> str:
        return self.case.name


def place(case: Case, addresses: Addresses, app_port: int) -> Placed:
    pods = []
    for name, app in case.apps.items():
        for number in range(1, app.replicas + 1):
            full = f"{name}-{number}" if app.replicas > 1 else name
            ip = addresses.of(f"{case.name}/{full}")
            listens = addresses.of(f"{case.name}/{full}/app") if case.at != "client" else ip
            service = f"{case.name}-{app.service}" if app.service else case.name
            pods.append(Pod(full, name, app, service, ip, listens))
    clients = {
        number: addresses.of(f"{case.name}/client/{number}") for number in (1, *sorted(_sources(case)))
    }
    services = {
        name: addresses.of_service(name)
        for name in dict.fromkeys([case.name, *(pod.service for pod in pods)])
    }
    return Placed(case, pods, clients, services, app_port)


def _sources(case: Case) -> set[int]:
    found = set()
    for step in case.requests:
        for request in getattr(step, "together", [step]):
            found.add(getattr(request, "source", 1))
    return found - {1}


def objects(placed: Placed, changes: list[Change] | None = None) -> list[Json]:
    """The case's objects as the control plane reads them, after `changes`. Raises BadCase where one is invalid."""
    case = placed.case
    http, destination, more = case.http, case.destination, list(_manifests(case))
    apps = dict(case.apps)
    for change in changes or ():
        http = change.http if change.http is not None else http
        destination = change.destination if change.destination is not None else destination
        changed = {(one["kind"], one["metadata"]["name"]) for one in change.apply}
        more = [
            one
            for one in more
            if (one["kind"], one["metadata"]["name"]) not in changed
            and f"{one['kind']}/{one['metadata']['name']}" not in change.remove
        ]
        more += change.apply
        for name, of in (change.apps or {}).items():
            apps[name] = apps[name].model_copy(update=App.model_validate(of).model_dump(include=of.keys()))
    documents = [*_services(placed), *_rules(case, http, destination), *more]
    return [*_read(case, documents), *(_pod(placed, pod, apps[pod.app]) for pod in placed.pods)]


def _manifests(case: Case) -> Iterator[Json]:
    if isinstance(case.manifests, str):
        yield from (one for one in yaml.safe_load_all(case.manifests) if one)
    else:
        yield from case.manifests


def _services(placed: Placed) -> Iterator[Json]:
    for name, address in placed.services.items():
        yield {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "clusterIP": address,
                "selector": {"app": name},
                "ports": [{"targetPort": placed.app_port, **port} for port in placed.case.ports],
            },
        }


def _rules(case: Case, http: list[Json] | None, destination: Json | None) -> Iterator[Json]:
    spec: Json = {"hosts": [case.name], **case.virtual_service}
    if http is not None:
        spec["http"] = http
    if http is not None or case.virtual_service:
        yield _istio("VirtualService", case.name, spec)
    if destination is not None:
        yield _istio("DestinationRule", case.name, {"host": case.name, **destination})


def _istio(kind: str, name: str, spec: Json) -> Json:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def _read(case: Case, documents: list[Json]) -> list[Json]:
    """Checked and defaulted as the API does it."""
    try:
        found = read("\n---\n".join(json.dumps(one) for one in documents))
    except BadManifest as error:
        raise BadCase(f"{case.source}: {case.name}: {error}") from None
    if len(found) != len(documents):
        known = {(one["kind"], one["metadata"]["name"]) for one in found}
        lost = [
            one.get("kind")
            for one in documents
            if (one.get("kind"), one.get("metadata", {}).get("name")) not in known
        ]
        raise BadCase(
            f"{case.source}: {case.name}: manifests: kind {lost[0]} is not one control.push.manifests reads"
        )
    return found


def _pod(placed: Placed, pod: Pod, app: App) -> Json:
    labels = {"app": pod.service, "version": pod.app, **app.labels}
    if app.locality:
        labels[LOCALITY] = app.locality.replace("/", ".")
    if app.sidecar or placed.case.at == "pair":
        labels[TLS_MODE] = "istio"
    return pod_object(f"{placed.name}-{pod.name}", "default", labels, pod.ip, app.ready, app.annotations)


def pod_object(
    name: str, namespace: str, labels: dict[str, str], ip: str, ready: bool, annotations: dict[str, Any]
) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "spec": {"serviceAccountName": "app", "containers": [{"name": "app"}]},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }
