"""Binds an xDS TLS context to the secrets: gives the `SslContext` for the next connection, and judges its peer.

`current()` is a look-up while nothing changed; after a rotation the next call builds anew, and connections that already
run keep their session. SSL contexts are shared between all configs that differ only in SNI and expected identities,
since those are checked per connection. ALPN is set per context, so each list has one of its own.
Reference: Envoy "TLS", envoy.extensions.transport_sockets.tls.v3; Istio's versions and ciphers, reference §4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from proxy.config.secret import (
    CertificateValidationContext,
    CommonTlsContext,
    DownstreamTlsContext,
    UpstreamTlsContext,
)
from proxy.tls.engine import TlsEngine
from proxy.tls.peer import PeerIdentity
from proxy.tls.sans import SanMatcher, name_refusal
from proxy.tls.secrets import SecretError, SecretStore
from proxy.tls.sessions import Sessions
from proxy.tls.ssl_context import SslContext

_AUTO = "TLS_AUTO"
# OpenSSL's default security level refuses 1.0 and 1.1, as Istio's minimum does.
_VERSIONS = {"TLSv1_0": "TLSv1_2", "TLSv1_1": "TLSv1_2", "TLSv1_2": "TLSv1_2", "TLSv1_3": "TLSv1_3"}


class SecretsNotReady(SecretError):
    """A secret that this context needs has not arrived yet. Envoy: `TLS error: Secret is not supplied by SDS`."""


class FileNotReady(SecretsNotReady):
    """A file that this context needs cannot be read."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """All that makes one `SslContext` differ from another. Secrets by name; PEM texts where the config holds them."""

    server: bool
    alpn: tuple[str, ...] = ()
    minimum: str = "TLSv1_2"
    maximum: str = "TLSv1_3"
    ciphers: tuple[str, ...] = ()
    certificate_secret: str | None = None
    certificate_pem: tuple[str, str] | None = None  # chain, private key
    validation_secret: str | None = None
    trusted_ca_pem: str | None = None
    require_peer: bool = True
    resumes: bool = True  # a server gives tickets

    @property
    def verifies(self) -> bool:
        """Whether there are roots to verify a peer's certificate with."""
        return self.validation_secret is not None or self.trusted_ca_pem is not None


class TlsContext:
    """One transport socket's TLS. `sni` is what an upstream connection sends, `sessions` those to resume; None for downstream.

    `read` gives the parameters once the files they are in can be read; every connection tries.
    """

    def __init__(
        self,
        parameters: Parameters,
        secrets: SecretStore,
        sans: SanMatcher,
        sni: str | None = None,
        read: Callable[[], Parameters] | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self.parameters = parameters
        self.sni = sni
        self.sessions = sessions
        self._secrets = secrets
        self._sans = sans
        self._read = read
        self._with_alpn: dict[tuple[str, ...], Parameters] = {}

    def _key(self, alpn: tuple[str, ...] | None) -> Parameters:
        if alpn is None:
            return self.parameters
        found = self._with_alpn.get(alpn)
        if found is None:
            found = self._with_alpn[alpn] = replace(self.parameters, alpn=alpn)
        return found

    def current(self, alpn: tuple[str, ...] | None = None) -> SslContext:
        """The context of the next connection; `alpn` overrides the configured list.

        Raises `SecretsNotReady` while a secret or a file is missing.
        """
        if self._read is not None:
            self.parameters = self._read()
            self._read = None
            self._with_alpn.clear()
        key = self._key(alpn)
        found = self._secrets.derived.get(key)
        if found is None:
            found = self._secrets.derived[key] = build(key, self._secrets)
        return found

    def keep_session(self, host: Hashable, engine: TlsEngine, alpn: tuple[str, ...] | None = None) -> None:
        """A verified connection ends: the next one to this host may go on from its session. Not after a rotation."""
        sessions, peer = self.sessions, engine.peer
        if sessions is None or peer is None or engine.session_reused:
            return
        session = engine.session
        if session is not None and self._secrets.derived.get(self._key(alpn)) is engine.context:
            sessions.keep(host, engine.context, session, peer.expires)

    @property
    def ready(self) -> bool:
        """Whether every secret this context needs is there."""
        needed = (self.parameters.certificate_secret, self.parameters.validation_secret)
        return self._read is None and all(name is None or name in self._secrets for name in needed)

    def refusal(self, peer: PeerIdentity | None, expected_name: str | None = None) -> str | None:
        """None if the peer of a finished handshake is one of those expected, else why not.

        `expected_name` must be in its certificate as well; nothing vouches for a name where no roots were given.
        """
        if expected_name is not None:
            refused = name_refusal(peer, expected_name) if self.parameters.verifies else "no trusted CA"
            if refused is not None:
                return refused
        return self._sans.refusal(peer)

    def __repr__(self) -> str:
        side = "downstream" if self.parameters.server else f"upstream sni={self.sni}"
        return f"<TlsContext {side} {'ready' if self.ready else 'waits for secrets'}>"


def downstream_context(config: DownstreamTlsContext, secrets: SecretStore) -> TlsContext:
    """The TLS of a filter chain. Raises `SecretError` for a config that can never work."""
    common = config.common_tls_context
    parameters = _read(common, server=True, require=config.require_client_certificate)
    if config.disable_stateless_session_resumption:
        parameters = replace(parameters, resumes=False)
    if parameters.certificate_secret is None and parameters.certificate_pem is None:
        raise SecretError("no TLS certificates found for server context")
    return TlsContext(parameters, secrets, _sans(common))


def upstream_context(config: UpstreamTlsContext, secrets: SecretStore) -> TlsContext:
    """The TLS of a cluster's transport socket.

    A file that cannot be read fails this cluster's connections until it can, as with Istio's agent, which serves files as
    secrets; refusing it would keep everything else that the control plane sends from this sidecar.
    """
    common = config.common_tls_context

    def read() -> Parameters:
        return _read(common, server=False, require=True)

    sessions = None if config.max_session_keys == 0 else Sessions()
    sni = config.sni or None
    try:
        return TlsContext(read(), secrets, _sans(common), sni, sessions=sessions)
    except FileNotReady:
        return TlsContext(Parameters(server=False), secrets, _sans(common), sni, read, sessions)


def _validation(common: CommonTlsContext) -> CertificateValidationContext | None:
    combined = common.combined_validation_context
    return combined.default_validation_context if combined else common.validation_context


def _sans(common: CommonTlsContext) -> SanMatcher:
    validation = _validation(common)
    return SanMatcher(validation.match_typed_subject_alt_names if validation else [])


def _read(common: CommonTlsContext, *, server: bool, require: bool) -> Parameters:
    certificates, combined = common.tls_certificate_sds_secret_configs, common.combined_validation_context
    sds = (
        combined.validation_context_sds_secret_config
        if combined
        else common.validation_context_sds_secret_config
    )
    for version in (
        common.tls_params.tls_minimum_protocol_version,
        common.tls_params.tls_maximum_protocol_version,
    ):
        if version != _AUTO and version not in _VERSIONS:
            raise SecretError(f"unknown TLS version {version!r}")
    return Parameters(
        server=server,
        alpn=tuple(filter(None, common.alpn())),  # of a server: nobody can offer it an empty one
        minimum=common.tls_params.tls_minimum_protocol_version,
        maximum=common.tls_params.tls_maximum_protocol_version,
        ciphers=tuple(common.tls_params.cipher_suites),
        certificate_secret=certificates[0].name if certificates else None,
        certificate_pem=_inline_pair(common),
        validation_secret=sds.name if sds else None,
        trusted_ca_pem=_inline_roots(_validation(common)),
        require_peer=require,
    )


def _inline_pair(common: CommonTlsContext) -> tuple[str, str] | None:
    if not common.tls_certificates:
        return None
    pair = common.tls_certificates[0]
    try:
        return pair.certificate_chain.read().decode(), pair.private_key.read().decode()
    except OSError as error:
        raise FileNotReady(f"tls_certificates[0]: {error}") from error
    except UnicodeDecodeError as error:
        raise SecretError(f"tls_certificates[0]: {error}") from error


def _inline_roots(validation: CertificateValidationContext | None) -> str | None:
    if validation is None or validation.trusted_ca is None:
        return None
    try:
        return validation.trusted_ca.read().decode()
    except OSError as error:
        raise FileNotReady(f"validation_context.trusted_ca: {error}") from error
    except UnicodeDecodeError as error:
        raise SecretError(f"validation_context.trusted_ca: {error}") from error


def build(parameters: Parameters, secrets: SecretStore) -> SslContext:
    """A fresh `SslContext` from the secrets as they are now. Who the peer must be is not its matter: see SanMatcher."""
    minimum = _VERSIONS.get(parameters.minimum, "TLSv1_2")
    maximum = _VERSIONS.get(parameters.maximum, "TLSv1_3")
    context = SslContext(server=parameters.server, minimum=minimum, maximum=maximum)
    # The keys of tickets are the context's own: a new certificate or root makes a new one, which takes none of the old.
    if parameters.server and not parameters.resumes:
        context.refuse_tickets()
    if parameters.ciphers:
        context.set_ciphers(parameters.ciphers)
    if parameters.alpn:
        context.set_alpn(parameters.alpn)
    _load_certificate(context, parameters, secrets)
    _load_roots(context, parameters, secrets)
    return context


def _load_certificate(context: SslContext, parameters: Parameters, secrets: SecretStore) -> None:
    pair = parameters.certificate_pem
    if parameters.certificate_secret is not None:
        secret = secrets.certificate(parameters.certificate_secret)
        if secret is None:
            raise SecretsNotReady(f"secret {parameters.certificate_secret} has not arrived")
        pair = secret.chain_pem, secret.private_key_pem
    if pair is not None:
        context.load_certificate(*pair)


def _load_roots(context: SslContext, parameters: Parameters, secrets: SecretStore) -> None:
    roots = parameters.trusted_ca_pem
    if parameters.validation_secret is not None:
        secret = secrets.validation(parameters.validation_secret)
        if secret is None:
            raise SecretsNotReady(f"secret {parameters.validation_secret} has not arrived")
        roots = secret.trusted_ca_pem
    if roots is not None:  # as Envoy: without a CA nothing is verified
        context.verify_peer(roots, required=parameters.require_peer or not parameters.server)
