"""Certificates read from DER agree with the `cryptography` package, and no bytes break the reader."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from proxy.tls import certificate
from proxy.tls.certificate import CertificateError
from tests.unit.proxy.mesh_ca import MeshCa

NAME = x509.Name([
    x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
    x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, 'A, "B"+C'),
    x509.NameAttribute(x509.NameOID.COMMON_NAME, " x<é>;"),
    x509.NameAttribute(x509.NameOID.TITLE, "t"),
])  # fmt: skip

MADE = MeshCa()
LEAF, KEY = MADE.issue("spiffe://cluster.local/ns/a/sa/b", dns=("a.example", "b.example"), subject=NAME)
LEAF_DER = certificate.pem_blocks(LEAF)[0]


def test_fields_agree_with_cryptography() -> None:
    ours, theirs = certificate.read(LEAF_DER), x509.load_pem_x509_certificate(LEAF.encode())
    assert int(ours.serial_number, 16) == theirs.serial_number
    assert ours.not_before == theirs.not_valid_before_utc.timestamp()
    assert ours.not_after == theirs.not_valid_after_utc.timestamp()
    assert ours.uri_sans == ("spiffe://cluster.local/ns/a/sa/b",)
    assert ours.dns_sans == ("a.example", "b.example")


def test_subject_is_rfc_2253() -> None:
    assert certificate.read(LEAF_DER).subject == r"2.5.4.12=t,CN=\ x\<é\>\;,O=A\, \"B\"\+C,C=DE"


def test_an_empty_subject_and_no_names() -> None:
    leaf, _ = MADE.issue()
    assert (certificate.load_pem(leaf)[0].subject, certificate.load_pem(leaf)[0].uri_sans) == ("", ())


def test_a_chain_in_order() -> None:
    subjects = [c.subject for c in certificate.load_pem(LEAF + MADE.root_pem)]
    assert subjects[1] == "O=cluster.local"


@pytest.mark.parametrize(
    "text",
    ["", "x", "-----BEGIN CERTIFICATE-----\nAA", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"],
)
def test_pem_that_is_none(text: str) -> None:
    with pytest.raises(CertificateError):
        certificate.load_pem(text)


def test_every_truncation_is_refused() -> None:
    for end in range(len(LEAF_DER) - 1):
        with pytest.raises(CertificateError):
            certificate.read(LEAF_DER[:end])


@given(st.data())
def test_any_byte_changed_reads_or_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(LEAF_DER) - 1))
    changed = bytearray(LEAF_DER)
    changed[at] = data.draw(st.integers(0, 255))
    try:
        certificate.read(bytes(changed))
    except CertificateError:
        pass


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    try:
        certificate.read(data)
    except CertificateError:
        pass
