"""The CA client: a certificate in place, renewal at half life, and failures in one line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.agent import control_plane, environment
from proxy.tls import csr
from proxy.tls.secrets import SecretStore
from proxy.xds.ca_client import CaClient, CaError, renewal_delay
from proxy.xds.http_client import HttpError
from tests.unit.proxy.control_plane import ControlPlane, pod_environment, running
from tests.unit.proxy.mesh_ca import MeshCa

ID = "spiffe://cluster.local/ns/default/sa/reviews"


async def in_process(identity: str) -> csr.SigningRequest:
    return csr.generate(identity)


def client(plane: ControlPlane, directory: Path, secrets: SecretStore) -> CaClient:
    settings = environment.read("sidecar", pod_environment(plane, directory))
    assert settings.identity == ID
    return CaClient(control_plane.connect(settings), secrets, ID, 86400, in_process)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_certificate_and_root_in_place(mesh_ca: MeshCa, tmp_path: Path) -> None:
    secrets = SecretStore()
    async with running(mesh_ca, ID, tmp_path) as plane:
        ca = client(plane, tmp_path, secrets)
        await ca.renew()
        assert ca.ready.is_set()
    assert secrets.own_uri_san == ID
    assert secrets.validation() is not None
    assert plane.asked[0][1]["validity_duration"] == 86400


async def test_renewed_at_half_life(mesh_ca: MeshCa, tmp_path: Path) -> None:
    secrets, told = SecretStore(), []
    secrets.subscribe(told.append)
    async with running(mesh_ca, ID, tmp_path) as plane:
        plane.certificate_seconds = -119.0  # not_before is two minutes ago, so a life of one second is over
        task = asyncio.create_task(client(plane, tmp_path, secrets).run())
        await until(lambda: told.count("default") >= 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("refusal", "text"),
    [((400, "bad CSR"), "400 bad CSR"), ((500, ""), "500 .*message"), ((401, "who"), "401 who")],
)
async def test_refusals(mesh_ca: MeshCa, tmp_path: Path, refusal: tuple[int, str], text: str) -> None:
    async with running(mesh_ca, ID, tmp_path) as plane:
        plane.refuse_csr = refusal
        with pytest.raises(CaError, match=text):
            await client(plane, tmp_path, SecretStore()).renew()


async def test_a_bad_token_is_told_and_retried(
    mesh_ca: MeshCa, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    secrets = SecretStore()
    async with running(mesh_ca, ID, tmp_path) as plane:
        good = (tmp_path / "token").read_text()
        (tmp_path / "token").write_text("wrong")
        task = asyncio.create_task(client(plane, tmp_path, secrets).run())
        await until(lambda: "401 request authenticate failure" in caplog.text)
        (tmp_path / "token").write_text(good)  # read anew for each request
        await until(lambda: secrets.own_uri_san == ID)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_root_that_does_not_fit(mesh_ca: MeshCa, tmp_path: Path) -> None:
    async with running(mesh_ca, ID, tmp_path) as plane:
        (tmp_path / "root.pem").write_text(MeshCa().root_pem)
        with pytest.raises(HttpError, match="certificate verify failed"):
            await client(plane, tmp_path, SecretStore()).renew()
        (tmp_path / "root.pem").unlink()
        with pytest.raises(HttpError, match=r"root certificate .*root.pem is not there"):
            await client(plane, tmp_path, SecretStore()).renew()


@given(st.floats(1, 1e6), st.floats(-1, 1), st.floats(0, 1))
def test_renewal_is_half_way_give_or_take_a_hundredth(life: float, jitter: float, passed: float) -> None:
    now = 1000 + passed * life
    delay = renewal_delay(1000, 1000 + life, now, jitter)
    assert delay >= 0.5
    assert delay == pytest.approx(max(life * (0.5 - 0.01 * jitter) - passed * life, 0.5), abs=1e-3)
