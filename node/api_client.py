"""The Kubernetes API as the node uses it: list, watch, create, patch, delete, tokens. A client like any other.

Knows paths and verbs, nothing of what the objects mean. Where the API is and who we are comes from the kubeconfig, read again
after every failure to connect, because a control plane that starts writes it. Reference: the Kubernetes API conventions.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Object = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
WATCH_SECONDS = 300  # then the server ends the watch and we ask again


class ApiError(Exception):
    """The API answered with an error; `status` is the HTTP status, the text the server's message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiAway(Exception):
    """The API cannot be reached or gave up in the middle; try again later."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind's place in the API."""

    group: str  # "" for the core group
    plural: str
    version: str = "v1"

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", namespace] if namespace else []
        parts += [part for part in (self.plural, name, sub) if part]
        return "/" + "/".join(parts)


PODS = Resource("", "pods")
SERVICES = Resource("", "services")
CONFIG_MAPS = Resource("", "configmaps")
EVENTS = Resource("", "events")
NODES = Resource("", "nodes")
SERVICE_ACCOUNTS = Resource("", "serviceaccounts")
DEPLOYMENTS = Resource("apps", "deployments")
REPLICA_SETS = Resource("apps", "replicasets")
ENDPOINTS = Resource("", "endpoints")
SECRETS = Resource("", "secrets")
NAMESPACES = Resource("", "namespaces")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is and how to prove who we are."""

    url: str
    token: str
    tls: ssl.SSLContext


def read_kubeconfig(path: Path) -> Access:
    """The current context of a kubeconfig with inline data. Raises ApiAway while there is none."""
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        tls = ssl.create_default_context(cadata=_data(cluster, "certificate-authority"))
        return Access(cluster["server"].rstrip("/"), user["token"], tls)
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError, ssl.SSLError) as error:
        raise ApiAway(f"no usable kubeconfig at {path}: {error}") from error


def _named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next((item for item in items if item["name"] == name), {})


def _data(cluster: Mapping[str, str], field: str) -> str:
    if field + "-data" in cluster:
        return base64.b64decode(cluster[field + "-data"]).decode()
    return Path(cluster[field]).read_text()


class ApiClient:
    """One session with the API; reads the kubeconfig when it first needs it."""

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._access: Access | None = None
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=5))

    def __repr__(self) -> str:
        return f"<ApiClient {self._access.url if self._access else 'not connected'}>"

    async def close(self) -> None:
        await self._session.close()

    async def list(self, resource: Resource, namespace: str | None = None) -> tuple[list[Object], str]:
        """All objects and the resourceVersion of that state. Raises ApiError, ApiAway."""
        answer = await self.request("GET", resource.path(namespace))
        return answer.get("items") or [], answer["metadata"]["resourceVersion"]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        return await self.request("GET", resource.path(namespace, name))

    async def create(self, resource: Resource, namespace: str | None, obj: Object) -> Object:
        return await self.request("POST", resource.path(namespace), obj)

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, patch: Object, sub: str | None = None
    ) -> Object:
        """A merge patch: null removes a field, a list replaces a list."""
        return await self.request("PATCH", resource.path(namespace, name, sub), patch, MERGE_PATCH)

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, options: Object | None = None
    ) -> None:
        await self.request("DELETE", resource.path(namespace, name), options)

    async def watch(self, resource: Resource, since: str) -> AsyncIterator[Object]:
        """Watch events (`type`, `object`) after resourceVersion `since`, until the server ends the watch."""
        query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": str(WATCH_SECONDS)}
        query["allowWatchBookmarks"] = "true"
        access = self._connected()
        try:
            async with self._session.get(
                access.url + resource.path(), params=query, headers=_headers(access), ssl=access.tls,
                read_bufsize=2**22,
            ) as response:  # fmt: skip
                if response.status == 401:
                    self._access = None
                    raise ApiAway("the token is not known")
                if response.status != 200:
                    raise ApiError(response.status, await response.text())
                async for line in response.content:
                    yield json.loads(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._access = None
            raise ApiAway(str(error) or type(error).__name__) from error

    async def request(
        self, method: str, path: str, body: Object | None = None, kind: str = "application/json"
    ) -> Object:
        """One request and its JSON answer. Raises ApiError, ApiAway."""
        access = self._connected()
        data = None if body is None else json.dumps(body).encode()
        headers = _headers(access) | ({} if body is None else {"Content-Type": kind})
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with self._session.request(
                method, access.url + path, data=data, headers=headers, ssl=access.tls, timeout=timeout
            ) as response:
                text = await response.text()
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._access = None
            raise ApiAway(str(error) or type(error).__name__) from error
        if status == 401:
            self._access = None  # a control plane that started anew wrote another token
            raise ApiAway(_message(text))
        if status >= 400:
            raise ApiError(status, _message(text))
        answer: Object = json.loads(text) if text else {}
        return answer

    def _connected(self) -> Access:
        if self._access is None:
            self._access = read_kubeconfig(self._kubeconfig)
        return self._access


def _headers(access: Access) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {access.token}",
        "Accept": "application/json",
        "User-Agent": "glassmesh-node",
    }


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()
