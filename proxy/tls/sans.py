"""Whether a peer's certificate carries one of the expected subject alternative names.

Compiled once from `match_typed_subject_alt_names`; an empty list expects nothing. Chain verification is OpenSSL's.
Reference: Envoy source/common/tls/cert_validator/san_matcher.cc.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.tls.peer import PeerIdentity

StringMatch = Callable[[str], bool]


class SanMatcher:
    """Any one of `expected` suffices; each is a SAN type (`URI`, `DNS`, `IP_ADDRESS`) and a test of its text."""

    __slots__ = ("_expected", "_uris")

    def __init__(
        self, expected: list[tuple[str, StringMatch]], exact_uris: frozenset[str] = frozenset()
    ) -> None:
        self._expected = expected
        self._uris = exact_uris  # Istio's usual form, found without calling a matcher

    def refusal(self, peer: PeerIdentity | None) -> str | None:
        """None if the peer is acceptable, else Envoy's words for why it is not."""
        if not self._expected and not self._uris:
            return None
        if peer is None:
            return "verify cert failed: no peer certificate"
        if not self._uris.isdisjoint(peer.uri_sans):
            return None
        for kind, matches in self._expected:
            if any(matches(name) for name in _names(peer, kind)):
                return None
        names = ", ".join((*peer.dns_sans, *peer.uri_sans, *peer.ip_sans))
        return f"verify cert failed: SAN matcher, certificate SANs are [{names}]"


def _names(peer: PeerIdentity, kind: str) -> tuple[str, ...]:
    if kind == "URI":
        return peer.uri_sans
    return peer.dns_sans if kind == "DNS" else peer.ip_sans
