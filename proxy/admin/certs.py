"""Admin `/certs`: the certificates in use and how long they live. Reference: envoy.admin.v3.Certificates."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from proxy.admin.http_server import JSON, Response
from proxy.tls.certificate import Certificate
from proxy.tls.secrets import CertificateSecret, SecretStore, ValidationSecret


def render(secrets: SecretStore, now: float) -> Response:
    """Answer `/certs`; `now` is seconds since the epoch."""
    found = secrets.all()
    roots = [c for s in found if isinstance(s, ValidationSecret) for c in s.certificates]
    chains = [s for s in found if isinstance(s, CertificateSecret)]
    certificates = [
        {
            "ca_cert": [_details(c, now) for c in roots],
            "cert_chain": [_details(c, now) for c in s.certificates[:1]],
        }
        for s in chains
    ]
    if roots and not chains:
        certificates = [{"ca_cert": [_details(c, now) for c in roots], "cert_chain": []}]
    return Response(json.dumps({"certificates": certificates}, indent=1) + "\n", content_type=JSON)


def _details(certificate: Certificate, now: float) -> dict[str, Any]:
    names = [{"uri": name} for name in certificate.uri_sans]
    names += [{"dns": name} for name in certificate.dns_sans]
    names += [{"ip_address": name} for name in certificate.ip_sans]
    return {
        "path": "<inline>",
        "serial_number": certificate.serial_number,
        "subject_alt_names": names,
        "days_until_expiration": str(max(int((certificate.not_after - now) // 86400), 0)),
        "valid_from": _second(certificate.not_before),
        "expiration_time": _second(certificate.not_after),
    }


def _second(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
