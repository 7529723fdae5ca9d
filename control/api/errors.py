"""Refusals as Kubernetes Status objects: one exception, and one constructor for each reason.

Decides code, reason and wording. Reference: k8s.io/apimachinery/pkg/api/errors/errors.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from control.resources.kind import FieldError, Kind, Object

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class ApiError(Exception):
    """A request refused; rendered as a Status object."""

    def __init__(
        self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = dict(details or {})

    def status(self) -> Object:
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": str(self),
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


def _named(kind: Kind, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {"name": name, "kind": kind.plural}
    if kind.group:
        details["group"] = kind.group
    return details


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{kind.resource} "{name}" not found', _named(kind, name))


def no_such_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', _named(kind, name))


def conflict(kind: Kind, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return ApiError(409, "Conflict", message, _named(kind, name))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(kind: Kind, name: str, why: str) -> ApiError:
    return ApiError(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}', _named(kind, name))


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def not_served(subresource: str) -> ApiError:
    """For what needs a stream into a pod: the command that enters pods does without the API."""
    message = f"{subresource} is not served here: use `glassmesh exec WORKLOAD -- COMMAND` on the machine of the mesh"
    return ApiError(501, "NotImplemented", message)


def unsupported_media_type(accepted: Iterable[str]) -> ApiError:
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def invalid(kind: Kind, name: str, errors: Iterable[FieldError]) -> ApiError:
    """422 with every error and its path."""
    found = list(errors)
    text = str(found[0]) if len(found) == 1 else f"[{', '.join(map(str, found))}]"
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    causes = [{"reason": e.reason, "message": e.message, "field": e.path} for e in found]
    details = {"name": name, "kind": kind.kind, "causes": causes}
    if kind.group:
        details["group"] = kind.group
    return ApiError(422, "Invalid", f'{qualified} "{name}" is invalid: {text}', details)


def strict_decoding(kind: Kind, version: str, errors: Iterable[FieldError]) -> ApiError:
    """400 for a document whose only faults are fields the schema does not have."""
    found = list(errors)
    text = ", ".join(error.message for error in found)
    message = f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: strict decoding error: {text}'
    causes = [{"reason": e.reason, "message": e.message, "field": e.path} for e in found]
    return ApiError(400, "BadRequest", message, {"causes": causes})


def apply_conflict(conflicts: Iterable[tuple[str, str]]) -> ApiError:
    """409 of server-side apply: pairs of field path and the manager that owns it."""
    found = sorted(conflicts)
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": path}
        for path, manager in found
    ]
    by_manager: dict[str, list[str]] = {}
    for path, manager in found:
        by_manager.setdefault(manager, []).append(path)
    parts = []
    for manager, paths in sorted(by_manager.items()):
        if len(paths) == 1:
            parts.append(f'conflict with "{manager}": {paths[0]}')
        else:
            parts.append(f'conflicts with "{manager}":\n' + "\n".join(f"- {path}" for path in paths))
    number = f"{len(found)} conflict" + ("s" if len(found) > 1 else "")
    message = f"Apply failed with {number}: {chr(10).join(parts)}"
    return ApiError(409, "Conflict", message, {"causes": causes})
