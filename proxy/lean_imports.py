"""Spares a sidecar what its libraries import and it never uses: 5 MB of 47.

asyncio and uvloop import `ssl`, with Python's own OpenSSL, for connections with TLS of theirs, which nobody here makes: TLS is by the
one that `cryptography` brings (docs/adr/0008). `hashlib` asks the same OpenSSL for digests that it has itself, and msgspec asks
`typing_extensions` for what `typing` has. So these are imported once while the others are not to be had. Whoever imports
one of those later gets it. Does nothing where asyncio is there already, as in tests; and what somebody has imported, a `.pth` file say, stays.
Reference: uvloop includes/stdlib.pxi (the names it looks up in `ssl`); CPython Lib/hashlib.py, Lib/asyncio/sslproto.py, `configure
--with-builtin-hashlib-hashes` (with which a distribution may leave digests to OpenSSL alone).
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


class _Ssl(ModuleType):
    """Any name is an exception that is never raised, or a number where OpenSSL has a code."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        found = -1 if name.startswith("SSL_ERROR_") else type(name, (Exception,), {})
        setattr(self, name, found)  # asyncio asks for SSLSocket with every `sock_connect`
        return found


def import_lean(*libraries: str) -> None:
    """Import these without what they need not have; to be called before anything else imports them."""
    if "asyncio" in sys.modules:
        return
    stand_ins = {"ssl": _Ssl("ssl"), "typing_extensions": None}
    if find_spec("_sha2") or find_spec("_sha256"):  # the latter until Python 3.11
        stand_ins["_hashlib"] = None
    absent = {name: stand_in for name, stand_in in stand_ins.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]  # None is how Python notes that there is no such module
    try:
        for library in libraries:
            import_module(library)
    finally:
        for name in absent:
            del sys.modules[name]
