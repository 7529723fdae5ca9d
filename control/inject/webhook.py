"""Injection as an HTTP webhook on 15017 `/inject`, and as an admission hook of our own API.

Reference: Kubernetes admission.k8s.io/v1; istio's pkg/kube/inject/webhook.go (serveInject).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from control.api.admission import Denied, Review
from control.inject.annotations import InjectionError
from control.inject.injector import inject
from control.mesh_config import MeshConfig
from control.resources import namespace as namespaces
from control.resources import pod
from control.resources.kind import Object
from control.store.interface import Reader

# The labels of a namespace; none when it is not known.
NamespaceLabels = Callable[[str], Mapping[str, str]]
Count = Callable[[str], None]


class InjectionWebhook:
    """`count` is told `requests`, `success`, `skip` or `failure`."""

    def __init__(self, mesh: MeshConfig, labels: NamespaceLabels, count: Count = lambda _event: None) -> None:
        self._mesh, self._labels, self._count = mesh, labels, count

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/inject", self.serve), web.post("/inject/{rest:.*}", self.serve)]

    async def mutate(self, review: Review) -> Object:
        """`control.api.admission.Mutator`: what is created as a Pod gets its proxy."""
        if review.kind.resource != pod.KIND.resource or review.operation != "CREATE":
            return review.object
        namespace = review.namespace or "default"
        # From the store itself: a namespace may have been labelled a moment ago.
        labels = await namespace_labels(review.reader, namespace)
        try:
            return self._inject(review.object, namespace, labels)
        except InjectionError as error:
            raise Denied(str(error)) from error

    def _inject(self, obj: Object, namespace: str, labels: Mapping[str, str]) -> Object:
        self._count("requests")
        try:
            injected = inject(obj, namespace, labels, self._mesh)
        except InjectionError:
            self._count("failure")
            raise
        self._count("skip" if injected is obj else "success")
        return injected

    async def serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        if not body:
            return web.Response(status=400, text="no body found")
        if request.content_type != "application/json":
            return web.Response(status=415, text="invalid Content-Type, want `application/json`")
        return web.json_response(self._review(body))

    def _review(self, body: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        try:
            asked = json.loads(body)["request"]
            obj, namespace = asked["object"], asked.get("namespace") or "default"
            injected = self._inject(obj, namespace, self._labels(namespace))
        except (ValueError, KeyError, TypeError) as error:
            return {**answer, "response": {"allowed": False, "status": {"message": str(error)}}}
        response: dict[str, Any] = {"uid": asked.get("uid", ""), "allowed": True}
        if injected is not obj:
            patch = [
                {"op": "replace", "path": f"/{part}", "value": injected[part]}
                for part in ("metadata", "spec")
            ]
            response["patchType"] = "JSONPatch"
            response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
        return {**answer, "response": response}


async def namespace_labels(reader: Reader, name: str) -> Mapping[str, str]:
    found, _ = await reader.list(namespaces.KIND)
    for obj in found:
        if obj["metadata"]["name"] == name:
            labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
            return labels
    return {}
