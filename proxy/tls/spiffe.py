"""Workload identities: `spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/SERVICE_ACCOUNT`.

Reads and writes them; decides nothing about who is trusted. Reference: Istio pkg/spiffe, SPIFFE-ID §2.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEME = "spiffe://"


@dataclass(frozen=True, slots=True)
class Identity:
    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        # `@` cannot stand in the authority of a URI; Istio writes it as a dot.
        domain = self.trust_domain.replace("@", ".")
        return f"{SCHEME}{domain}/ns/{self.namespace}/sa/{self.service_account}"


def parse(uri: str) -> Identity:
    """Read a SPIFFE URI of Istio's form; anything else raises `ValueError`."""
    parts = uri.removeprefix(SCHEME).split("/")
    if (
        not uri.startswith(SCHEME)
        or len(parts) != 5
        or parts[1] != "ns"
        or parts[3] != "sa"
        or not all(parts)
    ):
        raise ValueError(f"not a workload identity: {uri!r}")
    return Identity(parts[0], parts[2], parts[4])


def principal(uri: str) -> str:
    """The identity as policies write it: the URI without its scheme."""
    return uri.removeprefix(SCHEME)
