"""The API server: authentication, the list of paths, and errors as Status objects.

Reads top to bottom as the life of a request. Building it starts the controllers that keep the store consistent
(garbage collection, endpoints, expiry of Events). Reference: Kubernetes API concepts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from aiohttp import web

from control.api import body as body_of
from control.api import discovery, errors, logs, openapi, virtual
from control.api.admission import Admission
from control.api.cluster_ip import ClusterIPs
from control.api.endpoints import EndpointsController
from control.api.expiry import EventExpiry
from control.api.garbage import GarbageCollector
from control.api.namespaces import ensure_namespaces
from control.api.request_info import Paths, RequestInfo
from control.api.resources import Resources
from control.api.tokens import Authenticator, TokenSigner, User
from control.api.write import Writer
from control.resources import pod
from control.resources.config_map import SECRET
from control.resources.kind import Kind, Object
from control.store.interface import NotFound
from control.store.sqlite import SqliteStore

log = logging.getLogger(__name__)
_STREAMS = frozenset({"exec", "attach", "portforward"})  # of a Pod, that need a way into it

VERSION: Object = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0+glassmesh",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none: this is Python",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
_OPEN_PATHS = ("/healthz", "/readyz", "/livez", "/version")
_RESTART_SECONDS = 1.0
_MAX_BODY = 3 * 1024 * 1024  # bytes, as the API server's limit
_PROTOBUF_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


class ApiServer:
    """Handlers of one API; `make_app` wires them."""

    def __init__(
        self,
        store: SqliteStore,
        kinds: Sequence[Kind],
        writer: Writer,
        authenticator: Authenticator,
        signer: TokenSigner | None,
        node_socket: Path | None,
    ) -> None:
        self._store = store
        self._kinds = kinds
        self._paths = Paths(kinds)
        self.resources = Resources(store, writer)
        self._authenticator = authenticator
        self._signer = signer
        self._node_socket = node_socket

    @web.middleware
    async def guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Who is it, may they, and what went wrong."""
        try:
            self._authorize(request)
            return await handler(request)
        except errors.ApiError as exc:
            return web.json_response(exc.status(), status=exc.code)
        except web.HTTPException as exc:
            refusal = {404: errors.no_such_resource(), 405: errors.method_not_allowed()}.get(exc.status)
            refusal = refusal or errors.ApiError(
                exc.status, exc.reason.replace(" ", ""), exc.text or exc.reason
            )
            return web.json_response(refusal.status(), status=refusal.code)
        except (asyncio.CancelledError, ConnectionResetError):
            raise
        except Exception as exc:  # the composition root of a request: nothing may end the server
            log.exception("%s %s", request.method, request.path)
            failure = errors.ApiError(500, "InternalError", f"Internal error occurred: {exc!r}")
            return web.json_response(failure.status(), status=500)

    def _authorize(self, request: web.Request) -> None:
        """Service accounts may read what is not secret, and ask what they may do; the administrator may all."""
        if request.path in _OPEN_PATHS:
            return
        user, info = self._user(request), self._paths.read(request.path)
        secret = info is not None and info.kind.resource == SECRET.resource
        reading = request.method == "GET" and not secret
        if user.administrator or reading or self._is_review(request.path):
            return
        verb = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch"}.get(
            request.method, "delete"
        )
        what = f'resource "{info.kind.plural}" in API group "{info.kind.group}"' if info else request.path
        named = f'{info.kind.resource} "{info.name or ""}" is ' if info else ""
        raise errors.ApiError(403, "Forbidden", f'{named}forbidden: User "{user.name}" cannot {verb} {what}')

    def _user(self, request: web.Request) -> User:
        user = self._authenticator.user(request.headers.get("Authorization", ""))
        if user is None:
            raise errors.unauthorized()
        return user

    @staticmethod
    def _is_review(path: str) -> bool:
        return any(
            path == f"/apis/{group}/{version}/{plural}" for group, version, plural, _ in discovery.VIRTUAL
        )

    # Everything but resources ----------------------------------------------------------------------------------

    async def healthy(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def version(self, _request: web.Request) -> web.Response:
        return web.json_response(VERSION)

    async def index(self, _request: web.Request) -> web.Response:
        paths = [
            "/api",
            "/api/v1",
            "/apis",
            "/healthz",
            "/livez",
            "/openapi/v2",
            "/openapi/v3",
            "/readyz",
            "/version",
        ]
        for group, versions in discovery.group_versions(self._kinds).items():
            paths += [f"/apis/{group}", *(f"/apis/{group}/{v}" for v in versions)] if group else []
        return web.json_response({"paths": sorted(paths)})

    async def groups(self, request: web.Request) -> web.Response:
        """`/api` and `/apis`, aggregated where the client can read that."""
        core = request.path.rstrip("/") == "/api"
        accept = request.headers.get("Accept", "")
        for version in ("v2", "v2beta1"):
            if f"g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" in accept:
                content = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
                document = discovery.aggregated(self._kinds, core, version)
                return web.Response(body=json.dumps(document).encode(), headers={"Content-Type": content})
        return web.json_response(discovery.api_versions() if core else discovery.api_group_list(self._kinds))

    async def group(self, request: web.Request) -> web.Response:
        group = request.match_info["group"]
        versions = discovery.group_versions(self._kinds).get(group)
        if not versions:
            raise errors.no_such_resource()
        return web.json_response(discovery.api_group(group, versions))

    async def resource_list(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        if version not in discovery.group_versions(self._kinds).get(group, ()):
            raise errors.no_such_resource()
        return web.json_response(discovery.api_resource_list(self._kinds, group, version))

    async def openapi_v2(self, request: web.Request) -> web.Response:
        if "+protobuf" in request.headers.get("Accept", ""):
            return web.Response(body=openapi.v2_protobuf(), headers={"Content-Type": _PROTOBUF_V2})
        return web.json_response(openapi.v2(self._kinds))

    async def openapi_v3(self, _request: web.Request) -> web.Response:
        return web.json_response(openapi.index(self._kinds))

    async def openapi_v3_group(self, request: web.Request) -> web.Response:
        group, version = request.match_info.get("group", ""), request.match_info["version"]
        if version not in discovery.group_versions(self._kinds).get(group, ()):
            raise errors.no_such_resource()
        return web.json_response(openapi.v3(self._kinds, group, version))

    async def review(self, request: web.Request) -> web.Response:
        user = self._user(request)
        body = await body_of.read(request)
        answers = {
            "selfsubjectaccessreviews": lambda: virtual.access_review(user, body),
            "selfsubjectrulesreviews": lambda: virtual.rules_review(user, body),
            "selfsubjectreviews": lambda: virtual.self_review(user),
        }
        return web.json_response(answers[request.path.rpartition("/")[2]](), status=201)

    # Resources -------------------------------------------------------------------------------------------------

    async def resource(self, request: web.Request) -> web.StreamResponse:
        info = self._paths.read(request.path)
        if info is None:
            raise errors.no_such_resource()
        if info.subresource == "log" and "log" in info.kind.subresources and request.method == "GET":
            return await logs.stream(request, await self._existing(info), self._node_socket)
        if info.kind is pod.KIND and info.subresource in _STREAMS:
            raise errors.not_served(info.subresource)
        if info.subresource == "token" and "token" in info.kind.subresources and request.method == "POST":
            await self._existing(info)
            body = await body_of.read(request)
            answer = virtual.token_request(self._signer, info.namespace or "", info.name or "", body)
            return web.json_response(answer, status=201)
        return await self.resources.handle(request, info)

    async def _existing(self, info: RequestInfo) -> Object:
        try:
            return await self._store.get(info.kind, info.namespace, info.name or "")
        except NotFound:
            raise errors.not_found(info.kind, info.name or "") from None


async def _kept_running(loop: GarbageCollector | EndpointsController | EventExpiry) -> None:
    """A controller that fails begins anew: it looks at the whole state first, so nothing is missed."""
    while True:
        try:
            await loop.run()
        except Exception:
            log.exception("%s failed", type(loop).__name__)
        await asyncio.sleep(_RESTART_SECONDS)


def make_app(
    store: SqliteStore,
    kinds: Sequence[Kind],
    *,
    admin_token: str,
    admission: Admission | None = None,
    token_signer: TokenSigner | None = None,
    node_socket: Path | None = None,
) -> web.Application:
    """The API as an application, to be served over TLS by the composition root.

    `admission` hooks run after the API's own. Without a `token_signer` TokenRequests are refused; without a
    `node_socket` (`STATE/node.sock`) logs are."""
    admission = admission or Admission()
    addresses = ClusterIPs()
    writer = Writer(
        store,
        Admission((addresses.allocate, *admission.mutators), (addresses.check, *admission.validators)),
    )
    api = ApiServer(store, kinds, writer, Authenticator(admin_token, token_signer), token_signer, node_socket)
    app = web.Application(middlewares=[api.guard], client_max_size=_MAX_BODY)
    for path in ("/healthz", "/readyz", "/livez"):
        app.router.add_get(path, api.healthy)
    app.router.add_get("/version", api.version)
    app.router.add_get("/", api.index)
    for path in ("/api", "/apis"):
        app.router.add_get(path, api.groups)
        app.router.add_get(path + "/", api.groups)
    app.router.add_get("/api/{version}", api.resource_list)
    app.router.add_get("/apis/{group}", api.group)
    app.router.add_get("/apis/{group}/{version}", api.resource_list)
    app.router.add_get("/openapi/v2", api.openapi_v2)
    app.router.add_get("/openapi/v3", api.openapi_v3)
    app.router.add_get("/openapi/v3/api/{version}", api.openapi_v3_group)
    app.router.add_get("/openapi/v3/apis/{group}/{version}", api.openapi_v3_group)
    for group, version, plural, _ in discovery.VIRTUAL:
        app.router.add_post(f"/apis/{group}/{version}/{plural}", api.review)
    app.router.add_route("*", "/api/{rest:.+}", api.resource)
    app.router.add_route("*", "/apis/{rest:.+}", api.resource)

    async def stop_watches(_app: web.Application) -> None:
        api.resources.stop()

    async def run_controllers(_app: web.Application) -> AsyncIterator[None]:
        await ensure_namespaces(writer)
        loops = (GarbageCollector(store, writer, kinds), EndpointsController(store), EventExpiry(store))
        tasks = [asyncio.create_task(_kept_running(loop)) for loop in loops]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app.on_shutdown.append(stop_watches)
    app.cleanup_ctx.append(run_controllers)
    return app
