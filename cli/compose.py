"""The node of the compose mesh: does for containers what the kubelet does for pods. `python -m cli.compose`, see docker-compose.yml.

Creates the Services, service accounts and routes of the manifests it is given, once: what the user changes or adds later stays.
Writes each workload's token into that workload's own volume and renews it, writes the mesh's root certificate, answers cluster DNS,
and leaves a kubeconfig for the host. Deployments are compose's own, so they are not created.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from node.api_client import (
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    SERVICES,
    ApiAway,
    ApiClient,
    ApiError,
    Object,
    Resource,
)
from node.cache import Cache, key_of
from node.dns_server import DnsServer
from node.dns_zone import Zone

KINDS = {
    "Namespace": Resource("", "namespaces"),
    "Service": SERVICES,
    "ServiceAccount": SERVICE_ACCOUNTS,
    "Gateway": Resource("networking.istio.io", "gateways"),
    "VirtualService": Resource("networking.istio.io", "virtualservices"),
    "DestinationRule": Resource("networking.istio.io", "destinationrules"),
}
ENDPOINTS = Resource("", "endpoints")
T = TypeVar("T")
AUDIENCE = "istio-ca"
TOKEN_SECONDS = 43200  # as the projected volume of an injected pod asks for
SIDECAR_GID = 1337
RETRY_SECONDS = 0.5
REFRESH_SECONDS = 5.0
ROOT_CONFIG_MAP, ROOT_KEY = "istio-ca-root-cert", "root-cert.pem"


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload's identity, and the directory its sidecar reads the token from."""

    namespace: str
    service_account: str
    directory: Path


def workload(text: str) -> Workload:
    """`NAMESPACE/ACCOUNT=DIRECTORY`. Raises ValueError."""
    identity, equals, directory = text.partition("=")
    namespace, slash, account = identity.partition("/")
    if not (equals and slash and account and directory):
        raise ValueError(f"want NAMESPACE/ACCOUNT=DIRECTORY, not {text}")
    return Workload(namespace, account, Path(directory))


def with_server(kubeconfig: str, server: str) -> str:
    """The same kubeconfig with every cluster at `server`."""
    config = yaml.safe_load(kubeconfig)
    for cluster in config["clusters"]:
        cluster["cluster"]["server"] = server
    return yaml.safe_dump(config, sort_keys=False)


def objects(manifests: Sequence[Path]) -> list[Object]:
    """What the manifests hold of KINDS, in order."""
    documents = [doc for path in manifests for doc in yaml.safe_load_all(path.read_text())]
    return [doc for doc in documents if doc and doc["kind"] in KINDS]


def write(path: Path, content: str, mode: int, owner: tuple[int, int]) -> None:
    """Replaces a file whole; a reader sees the old or the new content."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        os.fchown(descriptor, *owner)  # last: what is another's we may no longer change
        file.write(content)
    new.replace(path)


async def until_there(call: Callable[[], Awaitable[T]]) -> T:
    """Calls again while the API is away or says that something does not exist yet."""
    while True:
        try:
            return await call()
        except ApiAway:
            pass
        except ApiError as error:
            if error.status != 404:
                raise
        await asyncio.sleep(RETRY_SECONDS)


async def create(api: ApiClient, obj: Object) -> None:
    """Creates an object unless it exists."""
    resource = KINDS[obj["kind"]]
    namespace = None if obj["kind"] == "Namespace" else obj["metadata"].get("namespace", "default")
    try:
        await api.create(resource, namespace, obj)
    except ApiError as error:
        if error.status != 409:
            raise


async def write_token(api: ApiClient, to: Workload) -> None:
    path = SERVICE_ACCOUNTS.path(to.namespace, to.service_account, "token")
    asked = {"spec": {"audiences": [AUDIENCE], "expirationSeconds": TOKEN_SECONDS}}
    answer = await until_there(lambda: api.request("POST", path, asked))
    write(to.directory / "istio-token", answer["status"]["token"], 0o440, (0, SIDECAR_GID))


async def write_root(api: ApiClient, directory: Path) -> None:
    config_map: dict[str, Any] = await until_there(lambda: api.get(CONFIG_MAPS, "default", ROOT_CONFIG_MAP))
    write(directory / ROOT_KEY, config_map["data"][ROOT_KEY], 0o444, (0, 0))


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(prog="python -m cli.compose", description=__doc__)
    flags.add_argument("--kubeconfig", type=Path, required=True, help="the control plane's own")
    flags.add_argument("--host-server", required=True, help="the API's URL from the host")
    flags.add_argument("--host-kubeconfig", type=Path, required=True, help="where the host's kubeconfig goes")
    flags.add_argument("--host-owner", type=Path, required=True, help="a file of the host user's")
    flags.add_argument("--root-cert", type=Path, required=True, metavar="DIRECTORY")
    flags.add_argument("--dns-address", default="0.0.0.0", help="where to answer DNS, port 53")
    flags.add_argument("--ready", type=Path, required=True, help="a file made when all of it is done")
    flags.add_argument(
        "--token", type=workload, action="append", default=[], metavar="NAMESPACE/ACCOUNT=DIRECTORY"
    )
    flags.add_argument("manifests", nargs="*", type=Path)
    return flags


class ComposeNode:
    """Keeps files true while it runs; `refresh` is one round."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._kubeconfig: str | None = None
        self._tokens_due = 0.0

    async def set_up(self, api: ApiClient) -> None:
        for obj in objects(self._options.manifests):
            await until_there(lambda obj=obj: create(api, obj))  # type: ignore[misc]
        await write_root(api, self._options.root_cert)

    async def refresh(self, api: ApiClient, now: float) -> None:
        """Renews the tokens at half of their life. `now` in seconds."""
        if now < self._tokens_due:
            return
        for each in self._options.token:
            await write_token(api, each)
        self._tokens_due = now + TOKEN_SECONDS / 2

    def refresh_kubeconfig(self) -> None:
        """The host's, when the control plane wrote a new one."""
        kubeconfig = self._options.kubeconfig.read_text()
        if kubeconfig == self._kubeconfig:
            return
        self._kubeconfig = kubeconfig
        target: Path = self._options.host_kubeconfig
        owner = self._options.host_owner.stat()
        os.chown(target.parent, owner.st_uid, owner.st_gid)
        write(target, with_server(kubeconfig, self._options.host_server), 0o600, (owner.st_uid, owner.st_gid))

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        self.refresh_kubeconfig()
        api = ApiClient(self._options.kubeconfig)
        services, endpoints = Cache(api, SERVICES), Cache(api, ENDPOINTS)
        dns = DnsServer(zone(services, endpoints))
        following = [asyncio.create_task(cache.run()) for cache in (services, endpoints)]
        try:
            await self.set_up(api)
            await services.synced.wait()
            await dns.start(self._options.dns_address)
            while not stop.is_set():
                self.refresh_kubeconfig()
                await self.refresh(api, time.monotonic())
                self._options.ready.touch()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), REFRESH_SECONDS)
        finally:
            self._options.host_kubeconfig.unlink(missing_ok=True)  # it leads nowhere from now on
            await dns.close()
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            await api.close()


def zone(services: Cache, endpoints: Cache) -> Zone:
    """The cluster's names, from the API. Other names are Docker's to answer: a pod's resolver asks there next."""
    return Zone(services.get, endpoints.get, lambda: {key_of(service)[0] for service in services}, {})


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await ComposeNode(options).run(stop)


if __name__ == "__main__":
    asyncio.run(serve(parser().parse_args()))
