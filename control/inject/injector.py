"""Injection of one pod: a pure function from a pod and its namespace to the pod with its proxy.

Invariants: the pod given is not changed; injecting an injected pod changes nothing; a malformed annotation refuses the pod
(`InjectionError`). The API runs this when a Pod is created, and 15017 `/inject` serves the same.
Reference: istio's pkg/kube/inject/{inject,webhook}.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, cast

from control.inject.annotations import (
    INTERCEPTION_MODE,
    MERGE_METRICS,
    REWRITE_PROBERS,
    STATUS,
    TEMPLATES,
    check_annotations,
    proxy_config,
)
from control.inject.decision import decide
from control.inject.probes import STATUS_PORT, rewrite_probes
from control.inject.template import (
    INIT,
    PROXY_CONTAINER,
    PodFacts,
    init_container,
    proxy_container,
    volumes,
)
from control.mesh_config import MeshConfig
from control.registry.workload import (
    CANONICAL_NAME,
    CANONICAL_REVISION,
    TLS_MODE,
    canonical_name,
    canonical_revision,
    owner_name,
)

Object = dict[str, Any]
REVISION = "default"


def inject(pod: Object, namespace: str, namespace_labels: Mapping[str, str], mesh: MeshConfig) -> Object:
    """The pod with its proxy, or the same object when it is to have none. Raises InjectionError."""
    meta, spec = pod["metadata"], pod["spec"]
    if not decide(namespace, namespace_labels, meta, spec).inject or _injected(pod):
        return pod
    annotations = meta.get("annotations") or {}
    check_annotations(annotations)
    containers, probers = _app_containers(spec, annotations)
    facts = _facts(pod, namespace, mesh, containers, probers)
    own = next((c for c in spec["containers"] if c["name"] == PROXY_CONTAINER), None)
    proxy = _overlaid(proxy_container(facts), own)
    init = [init_container(facts)] if _captures(facts) else []
    hold = bool(facts.proxy_config.get("holdApplicationUntilProxyStarts"))
    kept_volumes = [v for v in spec.get("volumes") or [] if v["name"] not in {a["name"] for a in volumes()}]
    new_spec = {
        **spec,
        "initContainers": [*init, *(spec.get("initContainers") or [])],
        "containers": [proxy, *containers] if hold else [*containers, proxy],
        "volumes": [*volumes(), *kept_volumes],
    }
    if not new_spec["initContainers"]:
        del new_spec["initContainers"]
    new_meta = {
        **meta,
        "labels": dict(facts.labels),
        "annotations": {**annotations, **_annotations(facts, mesh, bool(init))},
    }
    return {**pod, "metadata": new_meta, "spec": new_spec}


def _injected(pod: Object) -> bool:
    names = {container["name"] for container in pod["spec"].get("containers") or ()}
    return STATUS in (pod["metadata"].get("annotations") or {}) and PROXY_CONTAINER in names


def _captures(facts: PodFacts) -> bool:
    return facts.template == "sidecar" and facts.annotations.get(INTERCEPTION_MODE) != "NONE"


def _app_containers(spec: Object, annotations: Mapping[str, str]) -> tuple[list[Object], dict[str, Object]]:
    rewrite = annotations.get(REWRITE_PROBERS, "true").lower() == "true"
    containers, probers = [], {}
    for container in spec["containers"]:
        if container["name"] == PROXY_CONTAINER:
            continue
        changed, moved = rewrite_probes(container) if rewrite else (container, {})
        containers.append(changed)
        probers.update(moved)
    return containers, probers


def _facts(
    pod: Object, namespace: str, mesh: MeshConfig, containers: list[Object], probers: dict[str, Object]
) -> PodFacts:
    meta = pod["metadata"]
    annotations = meta.get("annotations") or {}
    template = cast(Literal["sidecar", "gateway"], annotations.get(TEMPLATES, "sidecar"))
    workload = owner_name(meta)
    labels = dict(meta.get("labels") or {})
    labels.setdefault(CANONICAL_NAME, canonical_name(labels, workload))
    labels.setdefault(CANONICAL_REVISION, canonical_revision(labels))
    if template == "sidecar":
        labels.setdefault(TLS_MODE, "istio")  # a gateway's own ports take plaintext
    defaults = mesh.defaultConfig.model_dump(exclude_none=True)
    return PodFacts(
        name=meta.get("name") or "",
        namespace=namespace,
        labels=labels,
        annotations=annotations,
        workload=workload,
        app_containers=tuple(container["name"] for container in containers),
        ports=tuple(port for container in containers for port in container.get("ports") or ()),
        probers=probers,
        proxy_config=proxy_config(defaults, annotations),
        trust_domain=mesh.trustDomain,
        template=template,
    )


def _overlaid(template: Object, own: Object | None) -> Object:
    """The pod's own `istio-proxy` container over the template's: its environment and mounts are added, other fields replace."""
    if own is None:
        return template
    merged = dict(template)
    for key, value in own.items():
        if key == "image" and value == "auto":
            continue
        if key in ("env", "volumeMounts", "ports"):
            name = {"env": "name", "volumeMounts": "mountPath", "ports": "containerPort"}[key]
            given = {item[name] for item in value or []}
            merged[key] = [*(i for i in template.get(key, []) if i[name] not in given), *(value or [])]
        elif value not in (None, {}, []):
            merged[key] = value
    return merged


def _annotations(facts: PodFacts, mesh: MeshConfig, with_init: bool) -> dict[str, str]:
    status = {
        "initContainers": [INIT] if with_init else [],
        "containers": [PROXY_CONTAINER],
        "volumes": [volume["name"] for volume in volumes()],
        "imagePullSecrets": None,
        "revision": REVISION,
    }
    first = facts.app_containers[0] if facts.app_containers else PROXY_CONTAINER
    added = {
        STATUS: json.dumps(status, separators=(",", ":")),
        "istio.io/rev": REVISION,
        "kubectl.kubernetes.io/default-container": facts.annotations.get(
            "kubectl.kubernetes.io/default-container", first
        ),
        "kubectl.kubernetes.io/default-logs-container": facts.annotations.get(
            "kubectl.kubernetes.io/default-logs-container", first
        ),
    }
    if mesh.enablePrometheusMerge and facts.annotations.get(MERGE_METRICS, "true").lower() == "true":
        added |= {
            "prometheus.io/port": str(STATUS_PORT),
            "prometheus.io/path": "/stats/prometheus",
            "prometheus.io/scrape": "true",
        }
    return added
