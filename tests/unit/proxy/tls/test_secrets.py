"""Secrets are checked before they replace the ones in use."""

from __future__ import annotations

import pytest

from proxy.tls.secrets import SecretError, SecretStore
from tests.unit.proxy.mesh_ca import MeshCa

ID = "spiffe://cluster.local/ns/default/sa/reviews"


def test_a_rotation_is_told_once_and_empties_what_was_derived(mesh_ca: MeshCa) -> None:
    store, told = SecretStore(lambda: 5.0), []
    store.subscribe(told.append)
    store.set_validation("ROOTCA", mesh_ca.root_pem)
    store.derived["x"] = None  # type: ignore[assignment]
    store.set_certificate("default", *mesh_ca.issue(ID))
    assert told == ["ROOTCA", "default"]
    assert store.derived == {}
    assert store.own_uri_san == ID
    assert "default" in store
    assert [s.updated for s in store.all()] == [5.0, 5.0]
    assert "PRIVATE" not in repr(store.all())


def test_a_bad_secret_changes_nothing(mesh_ca: MeshCa) -> None:
    store, told = SecretStore(), []
    chain, key = mesh_ca.issue(ID)
    store.set_certificate("default", chain, key)
    store.subscribe(told.append)
    other_chain, _ = mesh_ca.issue(ID)
    for bad in ((other_chain, key), ("", key), (chain, "no key"), ("-----BEGIN CERTIFICATE-----", key)):
        with pytest.raises(SecretError, match="secret default"):
            store.set_certificate("default", *bad)
    with pytest.raises(SecretError, match="secret ROOTCA"):
        store.set_validation("ROOTCA", "nothing")
    assert told == []
    assert store.certificate() is not None
    assert store.certificate().chain_pem == chain  # type: ignore[union-attr]
    assert store.validation() is None


def test_kinds_do_not_mix(mesh_ca: MeshCa) -> None:
    store = SecretStore()
    store.set_validation("default", mesh_ca.root_pem)
    assert store.certificate("default") is None
    assert store.own_uri_san is None
