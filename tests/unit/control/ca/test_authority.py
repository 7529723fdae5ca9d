"""What a certificate says, and which requests are refused."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from control.ca.authority import Authority, BadRequest, KeyPair, load_or_make_root, make_root

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY = "spiffe://cluster.local/ns/default/sa/web"


def _csr(san: str | None = None) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evil")])
    )
    if san:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(san)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def root() -> KeyPair:
    return make_root("cluster.local", NOW)


@pytest.fixture
def authority(root: KeyPair) -> Authority:
    return Authority(root, timedelta(hours=24), timedelta(days=90), lambda: NOW)


def test_a_workload_certificate(authority: Authority) -> None:
    chain = authority.sign_workload(_csr("spiffe://cluster.local/ns/kube-system/sa/admin"), IDENTITY, 3600)
    assert chain[-1].encode() == authority.root
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    assert list(leaf.subject) == []
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [IDENTITY]
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_encipherment, usage.value.key_cert_sign) == (
        True,
        True,
        False,
    )
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.not_valid_before_utc == NOW - timedelta(minutes=2)
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=1)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.root))


@pytest.mark.parametrize(
    ("seconds", "life"), [(0, timedelta(hours=24)), (5, timedelta(seconds=5)), (7776000, timedelta(days=90))]
)
def test_lifetimes(authority: Authority, seconds: int, life: timedelta) -> None:
    leaf = x509.load_pem_x509_certificate(authority.sign_workload(_csr(), IDENTITY, seconds)[0].encode())
    assert leaf.not_valid_after_utc - NOW == life


@pytest.mark.parametrize("seconds", [7776001, 10**30])
def test_more_than_the_longest_life_is_refused(authority: Authority, seconds: int) -> None:
    with pytest.raises(BadRequest, match="greater than the max allowed TTL 7776000s"):
        authority.sign_workload(_csr(), IDENTITY, seconds)


def test_no_certificate_outlives_its_issuer(root: KeyPair) -> None:
    late = NOW + timedelta(days=3649, hours=12)
    authority = Authority(root, now=lambda: late)
    leaf = x509.load_pem_x509_certificate(authority.sign_workload(_csr(), IDENTITY, 0)[0].encode())
    assert leaf.not_valid_after_utc == NOW + timedelta(days=3650)


@pytest.mark.parametrize(
    "csr", ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"]
)
def test_bad_requests(authority: Authority, csr: str) -> None:
    with pytest.raises(BadRequest, match="CSR cannot be parsed"):
        authority.sign_workload(csr, IDENTITY, 0)


def test_a_request_signed_by_another_key_is_refused(authority: Authority) -> None:
    der = bytearray(x509.load_pem_x509_csr(_csr().encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    try:
        csr = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()
    except ValueError:
        return  # the flipped bit made it no DER at all
    with pytest.raises(BadRequest):
        authority.sign_workload(csr, IDENTITY, 0)


def test_a_server_certificate(authority: Authority) -> None:
    pair = authority.serve(["istiod.istio-system.svc", "127.0.0.1"])
    leaf, issuer = x509.load_pem_x509_certificates(pair.chain)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["istiod.istio-system.svc"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    leaf.verify_directly_issued_by(issuer)


def test_the_root_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "ca"
    first = load_or_make_root(directory, "cluster.local", NOW)
    assert load_or_make_root(directory, "cluster.local", NOW) == first
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert modes == {"ca-cert.pem": 0o600, "ca-key.pem": 0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
