"""Whether a peer's certificate carries one of the expected subject alternative names.

Compiled once from `match_typed_subject_alt_names`; an empty list expects nothing. Chain verification is OpenSSL's.
Reference: Envoy source/common/tls/cert_validator/san_matcher.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.config.secret import SubjectAltNameMatcher
from proxy.config.values import StringMatcher
from proxy.tls.peer import PeerIdentity

StringMatch = Callable[[str], bool]


class SanMatcher:
    """Any one of `expected` suffices."""

    __slots__ = ("_exact_uris", "_others")

    def __init__(self, expected: Sequence[SubjectAltNameMatcher]) -> None:
        # Istio's usual form, found without calling a matcher.
        exact = [e for e in expected if e.san_type == "URI" and e.matcher.exact and not e.matcher.ignore_case]
        self._exact_uris = frozenset(e.matcher.exact for e in exact)
        self._others = [(e.san_type, _compiled(e)) for e in expected if e not in exact]

    def refusal(self, peer: PeerIdentity | None) -> str | None:
        """None if the peer is acceptable, else Envoy's words for why it is not."""
        if not self._others and not self._exact_uris:
            return None
        if peer is None:
            return "verify cert failed: no peer certificate"
        if not self._exact_uris.isdisjoint(peer.uri_sans):
            return None
        for kind, matches in self._others:
            if any(matches(name) for name in _names(peer, kind)):
                return None
        names = ", ".join((*peer.dns_sans, *peer.uri_sans, *peer.ip_sans))
        return f"verify cert failed: SAN matcher, certificate SANs are [{names}]"


def name_refusal(peer: PeerIdentity | None, name: str, *, is_address: bool = False) -> str | None:
    """None if the certificate has this DNS name (a wildcard may stand for its first label) or IP address.

    Envoy compares an address with patterns of names, too; with `is_address` none may stand for it (RFC 9110 §4.3.5).
    """
    if peer is not None:
        if not is_address and any(dns_name_matches(pattern, name) for pattern in peer.dns_sans):
            return None
        if name in peer.ip_sans or name in peer.uri_sans:
            return None
    found = ", ".join((*peer.dns_sans, *peer.ip_sans, *peer.uri_sans)) if peer is not None else ""
    return f"verify cert failed: verify SAN list, expected SANs: [{name}], certificate SANs: [{found}]"


def dns_name_matches(pattern: str, name: str) -> bool:
    """RFC 6125: `*` stands for the whole first label of a name, not for a part of it."""
    pattern, name = pattern.lower(), name.lower()
    if pattern == name:
        return True
    if not pattern.startswith("*."):
        return False
    first, dot, rest = name.partition(".")
    return bool(first and dot) and rest == pattern[2:]


def _names(peer: PeerIdentity, kind: str) -> tuple[str, ...]:
    if kind == "URI":
        return peer.uri_sans
    return peer.dns_sans if kind == "DNS" else peer.ip_sans


def _compiled(expected: SubjectAltNameMatcher) -> StringMatch:
    matcher = expected.matcher
    if expected.san_type == "DNS" and matcher.exact is not None:
        exact = matcher.exact
        return lambda name: dns_name_matches(
            name, exact
        )  # a certificate's wildcard stands for the name expected
    if matcher.safe_regex is not None:
        import re2  # 2.5 MB, and no config of Istio's has such a matcher here

        full = re2.compile(matcher.safe_regex.regex).fullmatch
        return lambda name: full(name) is not None
    plain = _plain(matcher)
    return (lambda name: plain(name.lower())) if matcher.ignore_case else plain


def _plain(matcher: StringMatcher) -> StringMatch:
    def wanted(text: str) -> str:
        return text.lower() if matcher.ignore_case else text

    if matcher.exact is not None:
        exact = wanted(matcher.exact)
        return lambda name: name == exact
    if matcher.prefix is not None:
        prefix = wanted(matcher.prefix)
        return lambda name: name.startswith(prefix)
    if matcher.suffix is not None:
        suffix = wanted(matcher.suffix)
        return lambda name: name.endswith(suffix)
    part = wanted(matcher.contains or "")
    return lambda name: part in name
