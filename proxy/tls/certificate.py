"""Reads the few X.509 fields a sidecar needs, straight from DER.

Serial number, validity, subject and subject alternative names: what `/certs`, renewal, XFCC and SAN matching ask.
It verifies nothing; OpenSSL does that in the handshake. The `cryptography` package would answer the same, at
4 MB more resident in every sidecar. Bytes that are no certificate raise `CertificateError`, whatever they hold.
Reference: RFC 5280 §4.1, X.690.
"""

from __future__ import annotations

import binascii
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_SEQUENCE, _SET, _INTEGER, _OID, _UTC_TIME = 0x30, 0x31, 0x02, 0x06, 0x17
_SAN_OID = bytes.fromhex("551d11")
_SAN_DNS, _SAN_URI, _SAN_IP = 0x82, 0x86, 0x87
# Attribute types that RFC 4514 gives a short name; the rest print as a dotted OID.
_ATTRIBUTES = {
    "550403": "CN", "550406": "C", "550407": "L", "550408": "ST", "55040a": "O", "55040b": "OU",
    "550405": "serialNumber", "0992268993f22c640119": "DC", "2a864886f70d010901": "emailAddress",
}  # fmt: skip


class CertificateError(ValueError):
    """The bytes are not a readable certificate."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate's readable fields; times are seconds since the epoch, `subject` is RFC 2253 text."""

    der: bytes
    serial_number: str  # lower-case hex, as Envoy prints it
    subject: str
    not_before: float
    not_after: float
    uri_sans: tuple[str, ...]
    dns_sans: tuple[str, ...]
    ip_sans: tuple[str, ...]


def pem_blocks(text: str, label: str = "CERTIFICATE") -> list[bytes]:
    """The DER of every `-----BEGIN label-----` block of a PEM text, in order."""
    found = []
    begin, end = f"-----BEGIN {label}-----", f"-----END {label}-----"
    for part in text.split(begin)[1:]:
        body, closed, _ = part.partition(end)
        if not closed:
            raise CertificateError(f"PEM block {label} has no end")
        try:
            found.append(binascii.a2b_base64(body))
        except binascii.Error as error:
            raise CertificateError(f"PEM block {label}: {error}") from error
    return found


def load_pem(text: str) -> list[Certificate]:
    """Every certificate of a PEM text; an empty text or an unreadable certificate raises `CertificateError`."""
    found = [read(der) for der in pem_blocks(text)]
    if not found:
        raise CertificateError("no certificate in the PEM text")
    return found


def read(der: bytes) -> Certificate:
    """Read one DER certificate."""
    try:
        return _read(der)
    except (IndexError, StopIteration, ValueError, RecursionError) as error:
        raise CertificateError(f"not a certificate: {error or 'truncated'}") from error


def _read(der: bytes) -> Certificate:
    _, certificate, _ = _element(der, 0)
    _, tbs, _ = _element(certificate, 0)
    fields = [(tag, value) for tag, value in _elements(tbs) if tag != 0xA0]  # the version is optional
    (serial_tag, serial), _, _, (_, validity), (_, subject) = fields[:5]
    if serial_tag != _INTEGER:
        raise CertificateError("no serial number")
    not_before, not_after = (_time(tag, value) for tag, value in _elements(validity))
    names = list(_sans(next((value for tag, value in fields if tag == 0xA3), b"")))
    return Certificate(
        der=der,
        serial_number=serial.lstrip(b"\0").hex() or "00",
        subject=_subject(subject),
        not_before=not_before,
        not_after=not_after,
        uri_sans=tuple(v.decode("latin-1") for tag, v in names if tag == _SAN_URI),
        dns_sans=tuple(v.decode("latin-1") for tag, v in names if tag == _SAN_DNS),
        ip_sans=tuple(str(ipaddress.ip_address(v)) for tag, v in names if tag == _SAN_IP),
    )


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """The tag, the value and the end of the element at `at`."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 0 < size <= 4:
            raise CertificateError("length of a DER element")
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    end = start + length
    if end > len(data):
        raise CertificateError("truncated DER element")
    return tag, data[start:end], end


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, value, at = _element(data, at)
        yield tag, value


def _time(tag: int, value: bytes) -> float:
    text = value.decode("ascii")
    if tag == _UTC_TIME:  # RFC 5280 §4.1.2.5.1: two-digit years from 50 on are of the 1900s
        text = ("19" if text >= "50" else "20") + text
    if len(text) != 15 or not text[:14].isdigit() or text[14] != "Z":
        raise ValueError(f"time {text!r}")
    month, day, hour, minute, second = (int(text[at : at + 2]) for at in range(4, 14, 2))
    return datetime(int(text[:4]), month, day, hour, minute, second, tzinfo=UTC).timestamp()


def _sans(extensions: bytes) -> Iterator[tuple[int, bytes]]:
    if not extensions:
        return
    _, sequence, _ = _element(extensions, 0)
    for _, extension in _elements(sequence):
        parts = list(_elements(extension))
        if parts[0] == (_OID, _SAN_OID):
            _, names, _ = _element(parts[-1][1], 0)
            yield from _elements(names)


def _subject(name: bytes) -> str:
    """RFC 2253: most specific first, multi-valued parts joined by `+`, special characters escaped."""
    relative = []
    for tag, part in _elements(name):
        if tag != _SET:
            raise CertificateError("subject")
        relative.append("+".join(_attribute(value) for _, value in _elements(part)))
    return ",".join(reversed(relative))


def _attribute(value: bytes) -> str:
    (_, oid), (_, text) = _elements(value)
    key = _ATTRIBUTES.get(oid.hex()) or _dotted(oid)
    plain = text.decode("utf-8", "replace")
    escaped = "".join("\\" + c if c in ',+"\\<>;' else c for c in plain)
    if plain[:1] in ("#", " "):
        escaped = "\\" + escaped
    if len(plain) > 1 and plain.endswith(" "):
        escaped = escaped[:-1] + "\\ "
    return f"{key}={escaped}"


def _dotted(oid: bytes) -> str:
    parts, number = [oid[0] // 40, oid[0] % 40], 0
    for byte in oid[1:]:
        number = number << 7 | byte & 0x7F
        if not byte & 0x80:
            parts.append(number)
            number = 0
    return ".".join(map(str, parts))
