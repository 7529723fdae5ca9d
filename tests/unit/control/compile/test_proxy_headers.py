"""`proxyHeaders`: from the mesh or the pod's own annotation, and what is none of either."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from control.compile.proxy_headers import ProxyHeaders, proxy_headers
from control.mesh_config import MeshConfig
from control.push.proxy import Proxy


def of(metadata: Any = None, **mesh: Any) -> ProxyHeaders:
    config = MeshConfig.model_validate({"defaultConfig": {"proxyHeaders": mesh}})
    own = {} if metadata is None else {"PROXY_CONFIG": {"proxyHeaders": metadata}}
    return proxy_headers(
        config, Proxy("sidecar~", "sidecar", "10.0.0.1", "a", "default", {}, "a", False, own)
    )


@pytest.mark.parametrize(
    ("said", "mode", "details"),
    [
        ({}, "APPEND_FORWARD", ["subject", "dns", "uri"]),
        ({"forwardedClientCert": "UNDEFINED"}, "APPEND_FORWARD", ["subject", "dns", "uri"]),
        ({"forwardedClientCert": "SANITIZE"}, "SANITIZE", ["subject", "dns", "uri"]),
        ({"setCurrentClientCertDetails": {"subject": False}}, "APPEND_FORWARD", ["dns", "uri"]),
        ({"forwardedClientCert": "SANITIZE_SET", "setCurrentClientCertDetails": {"dns": False, "uri": False}},
         "SANITIZE_SET", ["subject"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("own", [True, False])
def test_client_certificates(said: dict[str, Any], mode: str, details: list[str], own: bool) -> None:
    found = of(said) if own else of(**said)
    assert found.client_cert_fields("APPEND_FORWARD") == {
        "forward_client_cert_details": mode,
        "set_current_client_cert_details": dict.fromkeys(details, True),
    }


def test_what_a_pod_says_replaces_what_the_mesh_says() -> None:
    assert of({}, xForwardedPort={"enabled": True}) == ProxyHeaders()
    assert of({"xForwardedPort": {"enabled": True}}).manager_fields() == {"append_x_forwarded_port": True}


@pytest.mark.parametrize(
    "nonsense",
    [
        {"forwardedClientCert": "NO_SUCH"},
        {"forwardedClientCert": ["SANITIZE"]},
        {"setCurrentClientCertDetails": 1},
        {"xForwardedPort": True},
    ],
)
def test_what_is_of_no_known_form_counts_as_not_said(nonsense: dict[str, Any]) -> None:
    assert of(nonsense) == ProxyHeaders()
    with pytest.raises(ValidationError):
        MeshConfig.model_validate({"defaultConfig": {"proxyHeaders": nonsense}})
