"""A client's records of TLS 1.3, made by hand where no library makes them: messages of TLS itself in several records.

The client that shook hands writes nothing itself any more; it still reads. Reference: RFC 8446 §4.6.3, §5.1, §7.1 to §7.3.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from proxy.tls.openssl import ffi, lib, text
from proxy.tls.ssl_context import SslContext

KEY_UPDATE = bytes([24, 0, 0, 1, 0])  # and ours are not asked for
_HANDSHAKE, _DATA = 22, 23


class Keys:
    """What the connections of a client's context are encrypted with; to be made before their handshake."""

    def __init__(self, client: SslContext) -> None:
        self._secrets: dict[str, bytes] = {}
        self._callback = ffi.callback(
            "void (*)(const SSL *, const char *)", self._log
        )  # kept while it may be called
        lib.SSL_CTX_set_keylog_callback(client._context, self._callback)

    def _log(self, _ssl: Any, line: Any) -> None:
        label, _, secret = text(line).split()
        self._secrets[label] = bytes.fromhex(secret)

    def client(self) -> ByHand:
        return ByHand(self._secrets["CLIENT_TRAFFIC_SECRET_0"])


class ByHand:
    """Nothing was sent with `secret` yet. The cipher is TLS_AES_128_GCM_SHA256, our servers' first."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._begin()

    def _begin(self) -> None:
        self._key = AESGCM(_expand(self._secret, b"key", 16))
        self._iv = int.from_bytes(_expand(self._secret, b"iv", 12))
        self._number = 0

    def data(self, data: bytes) -> bytes:
        return self._record(_DATA, data)

    def message(self, part: bytes) -> bytes:
        """Of one of TLS itself."""
        return self._record(_HANDSHAKE, part)

    def new_keys(self) -> None:
        """The records that follow are behind a KEY_UPDATE."""
        self._secret = _expand(self._secret, b"traffic upd", 32)
        self._begin()

    def _record(self, kind: int, content: bytes) -> bytes:
        nonce = (self._iv ^ self._number).to_bytes(12)
        self._number += 1
        head = bytes([_DATA, 3, 3]) + (len(content) + 1 + 16).to_bytes(2)
        return head + self._key.encrypt(nonce, content + bytes([kind]), head)


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    label = b"tls13 " + label
    info = size.to_bytes(2) + bytes([len(label)]) + label + b"\0"
    return HKDFExpand(SHA256(), size, info).derive(secret)
