"""Who may ask what."""

from __future__ import annotations

from typing import Any

import pytest

NS = "/api/v1/namespaces/default"
ROBOT = "system:serviceaccount:default:robot"


@pytest.mark.parametrize("token", ["", "wrong", "admin-token2"])
async def test_unknown_tokens_are_401(api: Any, token: str) -> None:
    code, status = await api("GET", f"{NS}/pods", token=token)
    assert (code, status["reason"], status["message"]) == (401, "Unauthorized", "Unauthorized")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez", "/version"])
async def test_health_needs_no_token(api: Any, path: str) -> None:
    assert (await api("GET", path, token=""))[0] == 200


async def test_service_accounts_may_read_only(api: Any, make: Any) -> None:
    assert (await api("GET", f"{NS}/configmaps", token=ROBOT))[0] == 200
    assert (await api("GET", f"{NS}/secrets", token=ROBOT))[0] == 403
    code, status = await api("POST", f"{NS}/configmaps", make.config_map(), token=ROBOT)
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        f'configmaps "" is forbidden: User "{ROBOT}" cannot create resource "configmaps" in API group ""'
    )


async def test_reviews_answer_for_who_asks(api: Any) -> None:
    review = {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await api("POST", path, review))[1]["status"] == {"allowed": True}
    assert (await api("POST", path, review, token=ROBOT))[1]["status"] == {"allowed": False}
    who = await api("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, token=ROBOT)
    assert who[1]["status"]["userInfo"]["username"] == ROBOT


async def test_token_requests(api: Any) -> None:
    body = {"spec": {"audiences": ["istio-ca"], "expirationSeconds": 900}}
    code, answer = await api("POST", f"{NS}/serviceaccounts/default/token", body)
    assert (code, answer["status"]["token"]) == (201, "system:serviceaccount:default:default")
    assert answer["status"]["expirationTimestamp"] == "istio-ca 900"
    assert (await api("POST", f"{NS}/serviceaccounts/nobody/token", body))[0] == 404
    body["spec"]["expirationSeconds"] = 5
    assert (await api("POST", f"{NS}/serviceaccounts/default/token", body))[0] == 422
