"""Peer metadata: known protobuf bytes, both ways, and no bytes break the reader."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from proxy.observability.peer_struct import decode, encode

METADATA = {
    "NAME": "reviews-v1-abc", "NAMESPACE": "default", "WORKLOAD_NAME": "reviews-v1", "CLUSTER_ID": "Kubernetes",
    "LABELS": {"app": "reviews", "version": "v1", "pod-template-hash": "x"}, "PROXY_CONFIG": {"concurrency": 2},
}  # fmt: skip


def test_the_bytes_are_protobufs() -> None:
    # Struct{fields: {"NAMESPACE": Value{string_value: "a"}}} by the wire format's rules.
    expected = b"\x0a\x10" + b"\x0a\x09NAMESPACE" + b"\x12\x03" + b"\x1a\x01a"
    assert base64.b64decode(encode({"NAMESPACE": "a"})) == expected


def test_both_ways_and_only_what_is_meant() -> None:
    value = encode(METADATA)
    assert b"\n" not in value
    assert b"concurrency" not in base64.b64decode(value)
    assert b"pod-template-hash" not in base64.b64decode(value)
    peer = decode(value)
    assert peer is not None
    assert (peer.name, peer.namespace, peer.canonical_service) == ("reviews-v1", "default", "reviews")
    assert (peer.canonical_revision, peer.cluster, peer.app, peer.version) == (
        "v1",
        "Kubernetes",
        "reviews",
        "v1",
    )


def test_what_another_encoder_may_add_is_skipped() -> None:
    number = b"\x0a\x0e" + b"\x0a\x01N" + b"\x12\x09\x11" + bytes(8)
    peer = decode(base64.b64encode(number + base64.b64decode(encode(METADATA))))
    assert peer is not None
    assert peer.name == "reviews-v1"


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    decode(data)
    decode(base64.b64encode(data))


@given(st.text(), st.text())
def test_any_names(name: str, namespace: str) -> None:
    peer = decode(encode({"WORKLOAD_NAME": name, "NAMESPACE": namespace}))
    assert peer is not None
    assert (peer.name, peer.namespace) == (name, namespace)
