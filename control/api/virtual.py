"""Requests answered without the store: who am I, what may I do, and a token for a service account.

Reference: k8s.io/api/authorization/v1, authentication/v1.
"""

from __future__ import annotations

from typing import Any

from control.api import errors
from control.api.tokens import TokenSigner, User
from control.resources.kind import Object
from control.store.sqlite import utc_now

_READ_VERBS = ("get", "list", "watch")
_DEFAULT_AUDIENCE = "https://kubernetes.default.svc.cluster.local"
_MIN_SECONDS, _DEFAULT_SECONDS, _MAX_SECONDS = 600, 3600, 86400


def _meta() -> Object:
    return {"creationTimestamp": utc_now()}


def access_review(user: User, body: Any) -> Object:
    spec = body.get("spec") or {} if isinstance(body, dict) else {}
    asked = spec.get("resourceAttributes") or spec.get("nonResourceAttributes") or {}
    allowed = user.administrator or asked.get("verb") in _READ_VERBS
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": _meta(),
        "spec": spec,
        "status": {"allowed": allowed},
    }


def rules_review(user: User, body: Any) -> Object:
    verbs = ["*"] if user.administrator else list(_READ_VERBS)
    return {
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": _meta(),
        "spec": body.get("spec") or {} if isinstance(body, dict) else {},
        "status": {
            "resourceRules": [{"verbs": verbs, "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": verbs, "nonResourceURLs": ["*"]}],
            "incomplete": False,
        },
    }


def self_review(user: User) -> Object:
    return {
        "kind": "SelfSubjectReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": _meta(),
        "status": {"userInfo": {"username": user.name, "groups": list(user.groups)}},
    }


def token_request(signer: TokenSigner | None, namespace: str, name: str, body: Any) -> Object:
    """A TokenRequest answered: audience and lifetime as asked, within limits."""
    if signer is None:
        raise errors.ApiError(501, "NotImplemented", "this API server has no token signer")
    spec = body.get("spec") or {} if isinstance(body, dict) else {}
    seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
    if not isinstance(seconds, int) or seconds < _MIN_SECONDS:
        message = "spec.expirationSeconds: Invalid value: may not specify a duration less than 10 minutes"
        raise errors.ApiError(422, "Invalid", f'TokenRequest.authentication.k8s.io "" is invalid: {message}')
    audiences = spec.get("audiences") or [_DEFAULT_AUDIENCE]
    signed = signer.sign(namespace, name, audiences, min(seconds, _MAX_SECONDS))
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": name, "namespace": namespace, **_meta()},
        "spec": {**spec, "audiences": list(audiences), "expirationSeconds": seconds},
        "status": {"token": signed.token, "expirationTimestamp": signed.expiration},
    }
