"""TLS contexts: real handshakes in memory between contexts built from xDS config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config.secret import (
    CertificateValidationContext,
    CombinedCertificateValidationContext,
    CommonTlsContext,
    DownstreamTlsContext,
    SdsSecretConfig,
    SubjectAltNameMatcher,
    TlsParameters,
    UpstreamTlsContext,
)
from proxy.config.values import DataSource, StringMatcher
from proxy.tls.contexts import SecretsNotReady, TlsContext, downstream_context, upstream_context
from proxy.tls.openssl import TlsError
from proxy.tls.peer import PeerIdentity, peer_identity
from proxy.tls.secrets import SecretError, SecretStore
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.engines import alpn, shake, version

CLIENT, SERVER = (
    "spiffe://cluster.local/ns/default/sa/productpage",
    "spiffe://cluster.local/ns/default/sa/reviews",
)


def common(alpn: list[str], *sans: StringMatcher, **params: Any) -> CommonTlsContext:
    return CommonTlsContext(
        tls_params=TlsParameters(**params),
        alpn_protocols=alpn,
        tls_certificate_sds_secret_configs=[SdsSecretConfig(name="default")],
        combined_validation_context=CombinedCertificateValidationContext(
            default_validation_context=CertificateValidationContext(
                match_typed_subject_alt_names=[SubjectAltNameMatcher(san_type="URI", matcher=m) for m in sans]
            ),
            validation_context_sds_secret_config=SdsSecretConfig(name="ROOTCA"),
        ),
    )


def store(ca: MeshCa, *uris: str, root: str | None = None) -> SecretStore:
    secrets = SecretStore()
    secrets.set_certificate("default", *ca.issue(*uris))
    secrets.set_validation("ROOTCA", root or ca.root_pem)
    return secrets


def downstream(secrets: SecretStore, *sans: StringMatcher, require: bool = True, **params: Any) -> TlsContext:
    config = DownstreamTlsContext(
        common_tls_context=common(["h2", "http/1.1"], *sans, **params), require_client_certificate=require
    )
    return downstream_context(config, secrets)


def upstream(secrets: SecretStore, *sans: StringMatcher) -> TlsContext:
    config = UpstreamTlsContext(common_tls_context=common(["istio"], *sans), sni="outbound_.9080_._.reviews")
    return upstream_context(config, secrets)


def test_mutual_tls_with_both_identities(mesh_ca: MeshCa) -> None:
    up = upstream(store(mesh_ca, CLIENT), StringMatcher(exact=SERVER))
    down = downstream(store(mesh_ca, SERVER), StringMatcher(prefix="spiffe://cluster.local/"))
    a, b = shake(up.current(("istio-http/1.1", "http/1.1")), down.current(), up.sni)
    assert version(a) == "TLSv1.3"
    assert alpn(a) == alpn(b) == "http/1.1"
    server, client = peer_identity(a), peer_identity(b)
    assert server is not None
    assert client is not None
    assert (server.uri_san, client.uri_san) == (SERVER, CLIENT)
    assert len(client.hash) == 64
    assert up.refusal(server) is None
    assert down.refusal(client) is None
    assert peer_identity(b) is client  # remembered


def test_another_identity_is_refused_in_envoys_words(mesh_ca: MeshCa) -> None:
    up = upstream(store(mesh_ca, CLIENT), StringMatcher(exact=SERVER))
    wrong = PeerIdentity(("spiffe://cluster.local/ns/x/sa/y",), (), "", "")
    refusal = "verify cert failed: SAN matcher, certificate SANs are [spiffe://cluster.local/ns/x/sa/y]"
    assert up.refusal(wrong) == refusal
    assert up.refusal(None) is not None


@pytest.mark.parametrize(
    ("matcher", "name", "fits"),
    [
        (StringMatcher(prefix="spiffe://a/"), "spiffe://a/ns/b/sa/c", True),
        (StringMatcher(prefix="spiffe://a/"), "spiffe://ab/ns/b/sa/c", False),
        (StringMatcher(suffix="/sa/c"), "spiffe://a/ns/b/sa/c", True),
        (StringMatcher(contains="/ns/b/"), "spiffe://a/ns/b/sa/c", True),
        (StringMatcher(contains="/ns/x/"), "spiffe://a/ns/b/sa/c", False),
        (StringMatcher(exact="SPIFFE://A", ignore_case=True), "spiffe://a", True),
    ],
)
def test_san_matchers(mesh_ca: MeshCa, matcher: StringMatcher, name: str, fits: bool) -> None:
    context = upstream(store(mesh_ca, CLIENT), matcher)
    assert (context.refusal(PeerIdentity((name,), (), "", "")) is None) is fits


def test_a_foreign_ca_fails_the_handshake(mesh_ca: MeshCa) -> None:
    stranger = MeshCa()
    up = upstream(store(stranger, CLIENT, root=mesh_ca.root_pem))
    with pytest.raises(TlsError):
        shake(up.current(), downstream(store(mesh_ca, SERVER)).current())


def test_a_client_without_certificate(mesh_ca: MeshCa) -> None:
    plain = SslContext(server=False, maximum="TLSv1_2")
    with pytest.raises(TlsError):
        shake(plain, downstream(store(mesh_ca, SERVER)).current())
    _, b = shake(plain, downstream(store(mesh_ca, SERVER), require=False).current())
    assert peer_identity(b) is None


def test_versions(mesh_ca: MeshCa) -> None:
    old = SslContext(server=False, maximum="TLSv1_2")
    server = downstream(store(mesh_ca, SERVER), tls_minimum_protocol_version="TLSv1_3").current()
    with pytest.raises(TlsError):
        shake(old, server)


def test_rotation_makes_a_new_context_and_sharing_does_not(mesh_ca: MeshCa) -> None:
    secrets = store(mesh_ca, CLIENT)
    one, two = upstream(secrets, StringMatcher(exact="a")), upstream(secrets, StringMatcher(exact="b"))
    before = one.current()
    assert one.current() is before
    assert two.current() is before  # only the expected names differ
    assert one.current(("h2",)) is not before
    secrets.set_certificate("default", *mesh_ca.issue(CLIENT))
    assert one.current() is not before


def test_missing_secrets(mesh_ca: MeshCa) -> None:
    context = upstream(SecretStore())
    assert not context.ready
    with pytest.raises(SecretsNotReady, match="secret default has not arrived"):
        context.current()


def test_configs_that_cannot_work() -> None:
    with pytest.raises(SecretError, match="no TLS certificates"):
        downstream_context(DownstreamTlsContext(common_tls_context=CommonTlsContext()), SecretStore())
    params = TlsParameters(tls_minimum_protocol_version="SSLv3")
    with pytest.raises(SecretError, match="SSLv3"):
        upstream_context(
            UpstreamTlsContext(common_tls_context=CommonTlsContext(tls_params=params)), SecretStore()
        )


@pytest.mark.parametrize(
    ("configured", "both"),
    [
        (["istio,h2"], "istio"),
        (["x" * 255], "x" * 255),
        (["é" * 127], "é" * 127),
        ([], ""),
        ([""], ""),
    ],
)
def test_alpn_as_envoy_reads_it(mesh_ca: MeshCa, configured: list[str], both: str) -> None:
    """Several names may stand in one; and a list of nothing is none."""
    secrets = store(mesh_ca, SERVER)
    client = upstream_context(UpstreamTlsContext(common_tls_context=common(configured)), secrets)
    for more in ([], ["", "other"]):  # which only a server may have
        config = DownstreamTlsContext(common_tls_context=common([*more, *configured, *more]))
        server = downstream_context(config, secrets)
        a, b = shake(client.current(), server.current())
        assert alpn(a) == alpn(b) == both


def test_a_file_may_come_later(mesh_ca: MeshCa, tmp_path: Path) -> None:
    """Connections of this cluster fail until it is there; the rest of the configuration is not held up."""
    roots = tmp_path / "roots.pem"
    validation = CertificateValidationContext(trusted_ca=DataSource(filename=str(roots)))
    config = UpstreamTlsContext(common_tls_context=CommonTlsContext(validation_context=validation))
    context = upstream_context(config, SecretStore())
    for _ in range(2):
        assert not context.ready
        with pytest.raises(SecretsNotReady, match=r"trusted_ca: .* No such file or directory"):
            context.current()
    roots.write_text(mesh_ca.root_pem)
    assert context.current() is context.current()
    assert context.ready
    assert context.parameters.verifies
