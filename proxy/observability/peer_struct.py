"""The value of `x-envoy-peer-metadata`: a workload as base64 of a `google.protobuf.Struct`, both ways.

Only what metrics need is written and read; whatever is not a Struct reads as None. The keys are sorted, so that one workload
is one value. Reference: Istio proxy extensions/common/metadata_object.cc; protobuf encoding; reference §8.2.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.observability.workload import Workload, workload_of_node

_KEYS = ("CLUSTER_ID", "LABELS", "NAME", "NAMESPACE", "OWNER", "WORKLOAD_NAME")
_LABELS = ("app", "service.istio.io/canonical-name", "service.istio.io/canonical-revision", "version")
# Field numbers of google.protobuf.Struct, its map entries, and Value.
_FIELDS, _KEY, _VALUE, _STRING, _STRUCT = 1, 1, 2, 3, 5
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_DEEPEST = 4


def encode(metadata: Mapping[str, Any]) -> bytes:
    """The header value of a proxy whose node metadata this is."""
    known = {key: metadata[key] for key in _KEYS if metadata.get(key)}
    labels = known.get("LABELS")
    if isinstance(labels, Mapping):
        known["LABELS"] = {key: str(labels[key]) for key in _LABELS if labels.get(key)}
    return binascii.b2a_base64(_struct(known), newline=False)


def decode(value: bytes) -> Workload | None:
    """The workload of a peer's header value; None if it cannot be read."""
    try:
        return workload_of_node(_read_struct(binascii.a2b_base64(value), 0))
    except (binascii.Error, ValueError, IndexError):
        return None


def _struct(values: Mapping[str, Any]) -> bytes:
    entries = []
    for key, value in sorted(values.items()):
        inner = (
            _field(_STRUCT, _struct(value))
            if isinstance(value, Mapping)
            else _field(_STRING, str(value).encode())
        )
        entries.append(_field(_FIELDS, _field(_KEY, key.encode()) + _field(_VALUE, inner)))
    return b"".join(entries)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _read_struct(data: bytes, depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        raise ValueError("too deep")
    found: dict[str, Any] = {}
    for number, entry in _read_fields(data):
        if number == _FIELDS:
            parts = dict(_read_fields(entry))
            found[parts[_KEY].decode() if _KEY in parts else ""] = _read_value(parts.get(_VALUE, b""), depth)
    return found


def _read_value(data: bytes, depth: int) -> Any:
    for number, value in _read_fields(data):
        if number == _STRING:
            return value.decode()
        if number == _STRUCT:
            return _read_struct(value, depth + 1)
    return ""  # numbers, booleans and lists are not among the keys we read


def _read_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _read_varint(data, at)
            continue
        if kind == _BYTES:
            size, at = _read_varint(data, at)
        else:
            size = {_FIXED64: 8, _FIXED32: 4}.get(kind, len(data) + 1)
        if at + size > len(data):
            raise ValueError("truncated")
        if kind == _BYTES:
            yield tag >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("varint")
