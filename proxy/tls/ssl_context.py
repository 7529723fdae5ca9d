"""What the TLS connections of one configuration share: OpenSSL's SSL_CTX.

Takes certificates, keys and roots as PEM text; they never touch a disk. Decides versions, curves and order of ciphers where the
configuration leaves them open, as Envoy has them. Knows no secrets by name and no configuration.
Reference: Envoy source/common/tls/context_impl.cc, context_config_impl.cc (DEFAULT_CIPHER_SUITES); BoringSSL's default groups and its
order of TLS 1.3's ciphers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from proxy.tls.openssl import TlsError, ffi, lib, must, reason

_TLS_1_3_CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# OpenSSL's own list has some without forward secrecy.
_TLS_1_2_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
_GROUPS = b"X25519:P-256:P-384"
_VERSIONS = {"TLSv1_2": 0x0303, "TLSv1_3": 0x0304}
_SELECT = "int (*)(SSL *, unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)"


class SslContext:
    """For servers or for clients. Each setter raises TlsError for what OpenSSL does not take."""

    def __init__(self, *, server: bool, minimum: str = "TLSv1_2", maximum: str = "TLSv1_3") -> None:
        self.server = server
        self.verifies = False  # what certificate a peer has
        self._context = context = ffi.gc(lib.SSL_CTX_new(lib.TLS_method()), lib.SSL_CTX_free)
        lib.SSL_CTX_set_options(
            context,
            lib.SSL_OP_ALL
            | lib.SSL_OP_NO_COMPRESSION
            | lib.SSL_OP_NO_RENEGOTIATION
            | lib.SSL_OP_CIPHER_SERVER_PREFERENCE,
        )
        # An idle connection keeps no record buffers: 34 KB.
        lib.SSL_CTX_set_mode(context, lib.SSL_MODE_RELEASE_BUFFERS)
        # Sessions are kept by us, or by the client in a ticket.
        lib.SSL_CTX_set_session_cache_mode(context, lib.SSL_SESS_CACHE_OFF)
        must(lib.SSL_CTX_set_session_id_context(context, b"glassmesh", 9))
        must(lib.SSL_CTX_set_min_proto_version(context, _VERSIONS[minimum]))
        must(lib.SSL_CTX_set_max_proto_version(context, _VERSIONS[maximum]))
        must(lib.SSL_CTX_set_ciphersuites(context, _TLS_1_3_CIPHERS))
        self.set_ciphers(_TLS_1_2_CIPHERS)
        must(lib.SSL_CTX_set1_curves_list(context, _GROUPS))
        self._alpn: tuple[bytes, ...] = ()
        self._chosen: list[Any] = []  # the memory OpenSSL is pointed to
        self._select: Any = None

    def set_ciphers(self, names: Sequence[str]) -> None:
        """Those of TLS 1.2, as OpenSSL writes them."""
        must(lib.SSL_CTX_set_cipher_list(self._context, ":".join(names).encode()))

    def set_alpn(self, protocols: Sequence[str]) -> None:
        """What a client offers, or a server takes, the first that the client offers too; without one TLS goes on without."""
        self._alpn = tuple(name.encode() for name in protocols)
        if not all(0 < len(name) <= 255 for name in self._alpn):
            raise TlsError("INVALID_ALPN_PROTOCOL_LIST")
        if self.server:
            self._chosen = [ffi.from_buffer("unsigned char[]", name) for name in self._alpn]
            self._select = ffi.callback(_SELECT, self._choose, error=lib.SSL_TLSEXT_ERR_ALERT_FATAL)
            lib.SSL_CTX_set_alpn_select_cb(self._context, self._select, ffi.NULL)
        else:
            wire = b"".join(bytes([len(name)]) + name for name in self._alpn)  # RFC 7301
            if lib.SSL_CTX_set_alpn_protos(self._context, wire, len(wire)):  # 0 is success here
                raise TlsError(reason())

    def _choose(self, _ssl: Any, out: Any, size: Any, offered: Any, length: int, _: Any) -> int:
        names = list(_names(ffi.buffer(offered, length)[:]))
        for name, memory in zip(self._alpn, self._chosen, strict=True):
            if name in names:
                out[0], size[0] = memory, len(name)
                return int(lib.SSL_TLSEXT_ERR_OK)
        return int(lib.SSL_TLSEXT_ERR_NOACK)

    def refuse_tickets(self) -> None:
        """Every handshake of this server is a full one."""
        lib.SSL_CTX_set_options(self._context, lib.SSL_OP_NO_TICKET)

    def load_certificate(self, chain_pem: str, private_key_pem: str) -> None:
        """The own certificate, leaf first, and its key, which must fit."""
        leaf, *chain = _certificates(chain_pem)
        must(lib.SSL_CTX_use_certificate(self._context, leaf))
        for one in chain:
            must(lib.X509_up_ref(one))
            must(lib.SSL_CTX_add_extra_chain_cert(self._context, one))  # which is the context's now
        key = lib.PEM_read_bio_PrivateKey(_memory(private_key_pem), ffi.NULL, ffi.NULL, b"")
        if key == ffi.NULL:
            raise TlsError(reason(), "private key")
        must(lib.SSL_CTX_use_PrivateKey(self._context, ffi.gc(key, lib.EVP_PKEY_free)))
        must(lib.SSL_CTX_check_private_key(self._context))

    def verify_peer(self, trusted_pem: str, *, required: bool) -> None:
        """A peer's certificate must be signed by one of these, a root or not, as Envoy; without `required` a client may have none."""
        store = lib.SSL_CTX_get_cert_store(self._context)
        lib.X509_STORE_set_flags(store, lib.X509_V_FLAG_PARTIAL_CHAIN)
        for one in _certificates(trusted_pem):
            must(lib.X509_STORE_add_cert(store, one))
        self.verifies = True
        strict = lib.SSL_VERIFY_FAIL_IF_NO_PEER_CERT if required else 0
        lib.SSL_CTX_set_verify(self._context, lib.SSL_VERIFY_PEER | strict, ffi.NULL)

    def new_ssl(self) -> Any:
        """OpenSSL's SSL for one connection."""
        return lib.SSL_new(self._context)


def _names(wire: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(wire):
        end = at + 1 + wire[at]
        yield wire[at + 1 : end]
        at = end


def _memory(pem: str) -> Any:
    data = pem.encode()
    bio = lib.BIO_new(lib.BIO_s_mem())
    lib.BIO_write(bio, data, len(data))
    return ffi.gc(bio, lib.BIO_free)


def _certificates(pem: str) -> list[Any]:
    """Every certificate of the text; TlsError where there is none, or one is broken."""
    found, bio = [], _memory(pem)
    while True:
        certificate = lib.PEM_read_bio_X509(bio, ffi.NULL, ffi.NULL, ffi.NULL)
        if certificate == ffi.NULL:
            break
        found.append(ffi.gc(certificate, lib.X509_free))
    why = reason()
    if not found or why != "NO_START_LINE":  # which is how the text ends
        raise TlsError(why, "certificate")
    return found
