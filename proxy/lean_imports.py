"""Spares a sidecar what its libraries import and it never uses: 5 MB of 47.

asyncio and uvloop import `ssl`, with Python's own OpenSSL, for connections with TLS of theirs, which nobody here makes: TLS is by the
one that `cryptography` brings (docs/adr/0008). `hashlib` asks the same OpenSSL for digests that it has itself, and msgspec asks
`typing_extensions` for what `typing` has. So these are imported once while the others are not to be had. Whoever imports
one of those later gets it. Does nothing where asyncio is there already, as in tests.
Reference: uvloop includes/stdlib.pxi (the names it looks up in `ssl`); CPython Lib/hashlib.py, Lib/asyncio/sslproto.py.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


class _Ssl(ModuleType):
    """Any name is an exception that is never raised, or a number where OpenSSL has a code."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return -1 if name.startswith("SSL_ERROR_") else type(name, (Exception,), {})


def import_lean(*libraries: str) -> None:
    """Import these without what they need not have; to be called before anything else imports them."""
    if "asyncio" in sys.modules:
        return
    absent = {"ssl": _Ssl("ssl"), "_hashlib": None, "typing_extensions": None}
    sys.modules.update(absent)  # type: ignore[arg-type]  # None is how Python notes that there is no such module
    try:
        for library in libraries:
            import_module(library)
    finally:
        for name in absent:
            del sys.modules[name]
