"""Bodies as kubectl 1.32 sends them; the first is recorded from `kubectl create namespace foo`."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.protobuf import Unreadable, decode

NAMESPACE = base64.b64decode(
    b"azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhsKEwoDZm9vEgAaACIAKgAyADgAQgASABoCCgAaACIA"
)  # fmt: skip


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes((number << 3, value))
    return bytes((number << 3 | 2, len(value))) + value


def envelope(kind: bytes, raw: bytes, version: bytes = b"v1") -> bytes:
    return b"k8s\x00" + field(1, field(1, version) + field(2, kind)) + field(2, raw)


def test_namespace_of_kubectl() -> None:
    assert decode(NAMESPACE) == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foo"}}


def test_maps_bytes_lists_and_kept_zeros() -> None:
    meta = field(1, field(1, b"x") + field(11, field(1, b"k") + field(2, b"v")))
    secret = decode(
        envelope(b"Secret", meta + field(2, field(1, b"p") + field(2, b"word")) + field(3, b"Opaque"))
    )
    assert secret["data"] == {"p": base64.b64encode(b"word").decode()}
    assert secret["metadata"] == {"name": "x", "labels": {"k": "v"}}
    spec = field(2, field(1, 0) + field(5, 0))
    assert decode(envelope(b"Deployment", spec, b"apps/v1"))["spec"] == {"replicas": 0}


def test_int_or_string_and_time() -> None:
    port = field(3, 80) + field(4, field(1, 1) + field(3, b"http"))
    service = decode(
        envelope(b"Service", field(2, field(1, port) + field(1, field(3, 81) + field(4, field(2, 90)))))
    )
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 90}]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "prefix"),
        (envelope(b"Job", b""), "Job is read as JSON only"),
        (envelope(b"Namespace", field(9, b"x")), "Namespace: field 9 is read as JSON only"),
        (envelope(b"Namespace", b"\x0a\x7f"), "not readable"),
        (envelope(b"Namespace", b"\x80"), "varint"),
        (envelope(b"Namespace", field(1, 5)), "a number where ObjectMeta is expected"),
    ],
)
def test_what_cannot_be_read_whole_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        decode(body)


@given(st.binary(max_size=60))
def test_no_bytes_break_it(junk: bytes) -> None:
    for body in (junk, b"k8s\x00" + junk, envelope(b"Deployment", junk)):
        try:
            decode(body)
        except Unreadable:
            pass
