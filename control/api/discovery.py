"""What the API serves, in the forms clients ask for: legacy lists, and aggregated discovery in one document.

Pure: documents from kinds. Reference: k8s.io/api/apidiscovery/v2, meta.k8s.io/v1 APIResourceList.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from control.resources.kind import Kind, Object

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_READ_WRITE = ["get", "patch", "update"]
# Answered by the API itself and stored nowhere: group, version, plural, kind, subject of a subresource.
VIRTUAL = (
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview"),
)
# Subresource: the kind of its body, and its verbs.
_SUBRESOURCES: dict[str, tuple[dict[str, str], list[str]]] = {
    "scale": ({"group": "autoscaling", "version": "v1", "kind": "Scale"}, _READ_WRITE),
    "log": ({"group": "", "version": "v1", "kind": "Pod"}, ["get"]),
    "token": ({"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}, ["create"]),
}


def _subresources(kind: Kind, version: str) -> list[tuple[str, dict[str, str], list[str]]]:
    own = {"group": kind.group, "version": version, "kind": kind.kind}
    found = [("status", own, _READ_WRITE)] if kind.has_status else []
    return found + [(name, *_SUBRESOURCES[name]) for name in kind.subresources]


def group_versions(kinds: Iterable[Kind]) -> dict[str, list[str]]:
    """Each group (the core group is "") and its versions, preferred first."""
    found: dict[str, list[str]] = {}
    for kind in kinds:
        versions = found.setdefault(kind.group, [])
        versions += [version for version in kind.versions if version not in versions]
    for group, version, *_ in VIRTUAL:
        found.setdefault(group, [version])
    return found


def _api_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def api_versions() -> Object:
    """`/api`."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def api_group(group: str, versions: Sequence[str]) -> Object:
    """`/apis/GROUP`."""
    listed = [{"groupVersion": _api_version(group, version), "version": version} for version in versions]
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": listed,
        "preferredVersion": listed[0],
    }


def api_group_list(kinds: Sequence[Kind]) -> Object:
    """`/apis`."""
    groups = [api_group(group, versions) for group, versions in group_versions(kinds).items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_resource_list(kinds: Iterable[Kind], group: str, version: str) -> Object:
    """`/api/v1` and `/apis/GROUP/VERSION`."""
    resources: list[Object] = []
    for kind in kinds:
        if kind.group != group or version not in kind.versions:
            continue
        entry: Object = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": _VERBS,
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        resources.append(entry)
        for name, body, verbs in _subresources(kind, version):
            resources.append(
                {
                    "name": f"{kind.plural}/{name}",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    **body,
                    "verbs": verbs,
                }
            )
    for of_group, of_version, plural, name in VIRTUAL:
        if (of_group, of_version) == (group, version):
            resources.append(
                {
                    "name": plural,
                    "singularName": name.lower(),
                    "namespaced": False,
                    "kind": name,
                    "verbs": ["create"],
                }
            )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": _api_version(group, version),
        "resources": resources,
    }


def aggregated(kinds: Sequence[Kind], core: bool, version: str) -> Object:
    """`/api` (core) or `/apis` as one `APIGroupDiscoveryList`; `version` is v2 or v2beta1."""
    items = []
    for group, versions in group_versions(kinds).items():
        if (group == "") == core:
            described = [_described(kinds, group, one) for one in versions]
            meta = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
            items.append({"metadata": meta, "versions": described})
    api_version = f"apidiscovery.k8s.io/{version}"
    return {"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items}


def _described(kinds: Sequence[Kind], group: str, version: str) -> Object:
    resources: list[dict[str, Any]] = []
    for kind in kinds:
        if kind.group != group or version not in kind.versions:
            continue
        entry = _resource(kind.plural, kind.singular, kind.namespaced, group, version, kind.kind, _VERBS)
        entry["shortNames"] = list(kind.short_names)
        entry["categories"] = list(kind.categories)
        entry["subresources"] = [
            {"subresource": name, "responseKind": body, "verbs": verbs}
            for name, body, verbs in _subresources(kind, version)
        ]
        resources.append(entry)
    for of_group, of_version, plural, name in VIRTUAL:
        if (of_group, of_version) == (group, version):
            resources.append(_resource(plural, name.lower(), False, group, version, name, ["create"]))
    return {"version": version, "resources": resources, "freshness": "Current"}


def _resource(
    plural: str, singular: str, namespaced: bool, group: str, version: str, kind: str, verbs: list[str]
) -> dict[str, Any]:
    return {
        "resource": plural,
        "responseKind": {"group": group, "version": version, "kind": kind},
        "scope": "Namespaced" if namespaced else "Cluster",
        "singularResource": singular,
        "verbs": verbs,
    }
