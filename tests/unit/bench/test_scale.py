"""The mesh that configuration is measured with, and the clients that hold none."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from bench.scale import mesh
from bench.scale.kubectl import Kubectl, is_applied
from bench.scale.plane import _KINDS, Refused
from bench.scale.thin import Client, Tally


def test_every_object_is_one_the_api_takes() -> None:
    found = list(mesh.objects(services=12, endpoints=2))
    for obj in found:
        kind = _KINDS[obj["kind"]]
        assert not kind.validate(kind.default(obj)).errors, obj
    count = {name: sum(obj["kind"] == name for obj in found) for name in _KINDS}
    assert count == {"Namespace": 10, "Service": 12, "Pod": 24, "VirtualService": 2, "DestinationRule": 2}


def test_addresses_are_pods_of_their_own() -> None:
    addresses = [mesh.pod_of(service, endpoint).ip for service in range(1000) for endpoint in range(10)]
    assert len(set(addresses)) == 10_000


def test_no_change_is_like_the_one_before() -> None:
    for change in mesh.changes(services=10, endpoints=2):
        made = [json.dumps(change.make(number)) for number in range(4)]
        assert all(one != other for one, other in itertools.pairwise(made)), change.title


def test_users_apply_what_nodes_do_not_write() -> None:
    applied = {change.title: is_applied(change) for change in mesh.changes(services=10, endpoints=2)}
    assert [title for title, known in applied.items() if not known] == ["endpoint gone or back"]


@pytest.fixture
def binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that programs are looked for in before all others."""
    found = tmp_path / "bin"
    found.mkdir()
    monkeypatch.setenv("PATH", f"{found}:/bin")
    return found


async def test_kubectl_is_a_process_for_each_object(binaries: Path, tmp_path: Path) -> None:
    _program(binaries / "kubectl", 'echo "$HOME $*" >> "$HOME/ran"; cat "$5" >> "$HOME/ran"')
    kubectl = Kubectl.find(tmp_path / "config", tmp_path)
    assert kubectl is not None
    applied = await kubectl.apply(mesh.service(7))
    assert applied.ended > applied.started
    ran, given = (tmp_path / "ran").read_text().split("\n", 1)
    assert ran == f"{tmp_path} --kubeconfig {tmp_path}/config apply -f {tmp_path}/manifest.json"
    assert json.loads(given) == mesh.service(7)


async def test_what_kubectl_refuses_ends_the_run(binaries: Path, tmp_path: Path) -> None:
    _program(binaries / "kubectl", "echo no such host >&2; exit 1")
    kubectl = Kubectl.find(tmp_path / "config", tmp_path)
    assert kubectl is not None
    with pytest.raises(Refused, match="no such host"):
        await kubectl.apply(mesh.service(7))


def test_a_machine_may_have_no_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Kubectl.find(tmp_path / "config", tmp_path) is None


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


class Wire(asyncio.Transport):
    """Takes down what a client asks."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []

    def write(self, data: Any) -> None:
        self.asked.append(json.loads(bytes(data).partition(b"\r\n\r\n")[2]))


def answer(version: str, *, packed: bool, size: int = 5000) -> bytes:
    head, rest = f'{{"version_info":"{version}","nonce":"n{version}"'.encode(), b',"x":"%b"}' % (b"." * size)
    body = gzip.compress(head) + gzip.compress(rest, 0) if packed else head + rest
    more = b"Content-Encoding: gzip\r\n" if packed else b""
    return b"HTTP/1.1 200 OK\r\n" + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("step", [1, 7, 300, 100_000])
def test_a_thin_client_acknowledges_whole_answers(step: int, packed: bool) -> None:
    tally, wire = Tally(), Wire()
    client = Client({"id": "x"}, None, tally)
    client.connection_made(wire)
    for data in (
        answer("1", packed=packed),
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        answer("2", packed=packed),
    ):
        for start in range(0, len(data), step):
            client.data_received(data[start : start + step])
    assert [asked["version_info"] for asked in wire.asked] == ["", "1", "1", "2"]
    assert [asked["response_nonce"] for asked in wire.asked] == ["", "n1", "n1", "n2"]
    assert len(tally.take()[0]) == 2
