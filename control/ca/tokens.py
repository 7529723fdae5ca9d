"""Service account tokens: made for pods, shown to the CA and to xDS.

A token is a JWT (ES256) with the claims of a Kubernetes projected token. Its key is kept beside the CA's, so tokens outlive a restart.
Reference: Kubernetes TokenRequest; istio's security/pkg/k8s/tokenreview (audience `istio-ca`).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.api.tokens import SignedToken
from control.ca.authority import write_private

ISSUER = "https://kubernetes.default.svc"
CA_AUDIENCE = "istio-ca"
_ALGORITHM = "ES256"
_SUBJECT = "system:serviceaccount:"


class BadToken(ValueError):
    """A token that proves nothing; the text says why."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose token it is."""

    namespace: str
    service_account: str


def load_or_make_key(directory: Path) -> ec.EllipticCurvePrivateKey:
    path = directory / "token-key.pem"
    if path.exists():
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
    key = ec.generate_private_key(ec.SECP256R1())
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(path, pem)
    return key


_MOST_TOKENS = 4096  # remembered


class TokenIssuer:
    """`control.api.tokens.TokenSigner`, and the check the CA and xDS make."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._public_key = key.public_key()
        self._now = now
        # A proxy shows its token with every poll; a signature that was right stays right, time is looked at again.
        self._signed: dict[tuple[str, str | None], dict[str, Any]] = {}

    def sign(
        self, namespace: str, service_account: str, audiences: Sequence[str], seconds: int
    ) -> SignedToken:
        now = int(self._now())
        claims = {
            "iss": ISSUER,
            "sub": f"{_SUBJECT}{namespace}:{service_account}",
            "aud": list(audiences) or [ISSUER],
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": service_account}},
        }
        token = jwt.encode(claims, self._key, algorithm=_ALGORITHM)
        expiration = datetime.fromtimestamp(now + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return SignedToken(token, expiration)

    def verify(self, token: str) -> str | None:
        try:
            return str(self._claims(token, None)["sub"])
        except BadToken:
            return None

    def identity(self, token: str) -> Identity:
        """Who shows a token meant for the CA. Raises BadToken."""
        subject = str(self._claims(token, CA_AUDIENCE)["sub"])
        namespace, _, service_account = subject.removeprefix(_SUBJECT).partition(":")
        if not subject.startswith(_SUBJECT) or not namespace or not service_account:
            raise BadToken("the token is not a service account's")
        return Identity(namespace, service_account)

    def _claims(self, token: str, audience: str | None) -> dict[str, Any]:
        claims = self._signed.get((token, audience))
        if claims is None:
            claims = self._decoded(token, audience)
            if len(self._signed) >= _MOST_TOKENS:
                self._signed.clear()
            self._signed[token, audience] = claims
        if not claims["nbf"] <= self._now() < claims["exp"]:
            raise BadToken(
                "Signature has expired" if self._now() >= claims["exp"] else "The token is not yet valid"
            )
        return claims

    def _decoded(self, token: str, audience: str | None) -> dict[str, Any]:
        options: Any = {
            "require": ["exp", "sub"],
            "verify_aud": audience is not None,
            # Time is this object's argument, so it is compared by `_claims` and not in the library.
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
        }
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._public_key,
                algorithms=[_ALGORITHM],
                audience=audience,
                issuer=ISSUER,
                options=options,
            )
            return {**claims, "exp": float(claims["exp"]), "nbf": float(claims.get("nbf", 0))}
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise BadToken(str(error)) from error


def bearer(header: str) -> str:
    """The token of an Authorization header. Raises BadToken."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BadToken("no bearer token")
    return token.strip()
