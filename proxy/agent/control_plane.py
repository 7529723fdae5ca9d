"""How a workload reaches its control plane: TLS checked against the mounted root, its token on every request.

Both files are read anew for each connection or request, because whoever mounted them renews them.
"""

from __future__ import annotations

from functools import lru_cache

from proxy.agent.environment import Settings
from proxy.tls.ssl_context import SslContext
from proxy.xds.http_client import HttpClient


def connect(settings: Settings) -> HttpClient:
    """A client of 15012; of the plaintext port 15010, without TLS."""
    host, port = settings.discovery_address
    tls = None if port == 15010 else lambda: _context(settings)
    return HttpClient(host, port, tls=tls, token=lambda: _token(settings))


def _context(settings: Settings) -> SslContext:
    """A missing or broken root file raises `OSError`, which the client reports in one line."""
    try:
        roots = settings.root_cert_file.read_text()
    except FileNotFoundError:
        raise OSError(2, f"root certificate {settings.root_cert_file} is not there") from None
    return _trusting(roots)


@lru_cache(maxsize=2)  # the roots, and those before them
def _trusting(roots: str) -> SslContext:
    context = SslContext(server=False)
    context.verify_peer(roots, required=True)
    return context


def _token(settings: Settings) -> str | None:
    try:
        return settings.token_file.read_text().strip() or None
    except OSError:
        return None  # the control plane's 401 says it better than we could
