"""Who may ask what: the administrator's token, and service account tokens, which may only read, and no Secrets.

Must not know how a token is signed: that is the `TokenSigner` the composition root hands in.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class SignedToken(NamedTuple):
    """A service account token and when it ends (RFC 3339)."""

    token: str
    expiration: str


class TokenSigner(Protocol):
    """Makes and checks the JWTs of service accounts; `sub` is `system:serviceaccount:NS:SA`."""

    def sign(
        self, namespace: str, service_account: str, audiences: Sequence[str], seconds: int
    ) -> SignedToken: ...

    def verify(self, token: str) -> str | None:
        """The `sub` of a token that is valid now, whatever its audience; None for any other."""
        ...


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request. Only an administrator may write."""

    name: str
    groups: tuple[str, ...]
    administrator: bool


class Authenticator:
    """Maps an Authorization header to a user."""

    def __init__(self, admin_token: str, signer: TokenSigner | None) -> None:
        self._admin_token = admin_token.encode()
        self._signer = signer

    def user(self, header: str) -> User | None:
        """The user of `Bearer TOKEN`; None when the token is not one of ours."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        if hmac.compare_digest(token.strip().encode(), self._admin_token):
            return User("kubernetes-admin", ("system:masters", "system:authenticated"), True)
        subject = self._signer.verify(token.strip()) if self._signer else None
        if subject is None:
            return None
        namespace = subject.split(":")[2]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return User(subject, groups, False)
