"""Workload tokens, and the endpoint that takes them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.ca.authority import Authority, make_root
from control.ca.server import PATH, CaServer
from control.ca.tokens import BadToken, Identity, TokenIssuer, bearer, load_or_make_key

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = 1_800_000_000.0


def _issuer(now: float = NOW) -> TokenIssuer:
    return TokenIssuer(KEY, lambda: now)


def test_a_token_says_whose_it_is() -> None:
    token, expiration = _issuer().sign("ns", "sa", ["istio-ca"], 3600)
    assert _issuer().identity(token) == Identity("ns", "sa")
    assert _issuer().verify(token) == "system:serviceaccount:ns:sa"
    assert expiration == datetime.fromtimestamp(NOW + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["kubernetes.io"] == {"namespace": "ns", "serviceaccount": {"name": "sa"}}


def test_a_token_that_was_good_before_has_its_time_as_well() -> None:
    now = NOW
    issuer = TokenIssuer(KEY, lambda: now)
    token, _ = issuer.sign("ns", "sa", ["istio-ca"], 3600)
    assert issuer.identity(token) == issuer.identity(token)
    now = NOW + 3600
    with pytest.raises(BadToken, match="expired"):
        issuer.identity(token)
    assert issuer.verify(token) is None


@pytest.mark.parametrize("later", [3600.0, 7200.0, -1.0])
def test_a_token_has_its_time(later: float) -> None:
    token, _ = _issuer().sign("ns", "sa", ["istio-ca"], 3600)
    with pytest.raises(BadToken):
        _issuer(NOW + later).identity(token)
    assert _issuer(NOW + later).verify(token) is None


def test_a_token_for_somebody_else_is_not_for_the_ca() -> None:
    token, _ = _issuer().sign("ns", "sa", ["other"], 3600)
    with pytest.raises(BadToken, match="Audience"):
        _issuer().identity(token)
    assert _issuer().verify(token) == "system:serviceaccount:ns:sa"


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_forged_tokens_are_refused(algorithm: str) -> None:
    claims = {
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:ns:sa",
        "aud": ["istio-ca"],
        "exp": NOW + 60,
    }
    forged = jwt.encode(claims, "secret" * 8 if algorithm == "HS256" else None, algorithm=algorithm)
    with pytest.raises(BadToken):
        _issuer().identity(forged)
    another = TokenIssuer(ec.generate_private_key(ec.SECP256R1()), lambda: NOW)
    with pytest.raises(BadToken):
        _issuer().identity(another.sign("ns", "sa", ["istio-ca"], 60).token)


@pytest.mark.parametrize("header", ["", "Basic x", "Bearer", "Bearer  "])
def test_what_is_no_bearer_token(header: str) -> None:
    with pytest.raises(BadToken):
        bearer(header)


def test_the_key_outlives_a_restart(tmp_path: Path) -> None:
    token, _ = TokenIssuer(load_or_make_key(tmp_path)).sign("ns", "sa", ["istio-ca"], 60)
    assert TokenIssuer(load_or_make_key(tmp_path)).identity(token) == Identity("ns", "sa")
    assert (tmp_path / "token-key.pem").stat().st_mode & 0o777 == 0o600


def _csr() -> str:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(KEY, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
async def ca() -> Any:
    counted: list[str] = []
    tokens = TokenIssuer(KEY)
    authority = Authority(make_root("cluster.local", datetime.now(UTC)))
    app = web.Application()
    app.add_routes(CaServer(authority, tokens, "cluster.local", counted.append).routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}", tokens, counted
    await runner.cleanup()


@pytest.mark.parametrize(
    ("authorization", "body", "status", "message"),
    [
        ("good", {"csr": _csr(), "validity_duration": 60}, 200, ""),
        ("good", {"csr": _csr()}, 200, ""),
        ("", {"csr": _csr()}, 401, "request authenticate failure: no bearer token"),
        ("Bearer x.y.z", {"csr": _csr()}, 401, "request authenticate failure"),
        ("good", {"csr": "x"}, 400, "CSR cannot be parsed"),
        ("good", {}, 400, "csr: want a PEM text"),
        ("good", [], 400, "csr: want a PEM text"),
        ("good", {"csr": _csr(), "validity_duration": -1}, 400, "validity_duration"),
        ("good", {"csr": _csr(), "validity_duration": 10**9}, 400, "greater than the max allowed TTL"),
    ],
)
async def test_create_certificate(ca: Any, authorization: str, body: Any, status: int, message: str) -> None:
    url, tokens, counted = ca
    if authorization == "good":
        authorization = f"Bearer {tokens.sign('ns', 'sa', ['istio-ca'], 60).token}"
    headers = {"Authorization": authorization} if authorization else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=body, headers=headers) as answer,
    ):
        found = await answer.json()
        assert answer.status == status
    if status == 200:
        leaf = x509.load_pem_x509_certificate(found["cert_chain"][0].encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            "spiffe://cluster.local/ns/ns/sa/sa"
        ]
        assert counted == ["csr", "issued"]
    else:
        assert message in found["message"]
