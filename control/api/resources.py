"""The handlers of resource paths: get, list, watch, create, update, patch, delete, and the scale subresource.

Shell: turns requests into calls of `Writer` and the store, and objects into the representation the client accepts.
Reference: Kubernetes API concepts.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from control.api import body as body_of
from control.api import errors
from control.api.deletion import DeleteOptions
from control.api.representation import Representation
from control.api.request_info import RequestInfo
from control.api.scale import from_scale, to_scale
from control.api.watch import events, in_scope
from control.api.write import APPLY_PATCH, WriteOptions, Writer
from control.resources.kind import Object
from control.resources.selectors import BadSelector, Predicate, parse_fields, parse_labels
from control.store.interface import Expired, NotFound, WatchEvent
from control.store.sqlite import SqliteStore

_DEFAULT_WATCH_SECONDS = 1800.0
# Clients take a hundred headers, and so much of each.
_MAX_WARNINGS, _MAX_WARNING = 50, 2000  # headers, characters


class Resources:
    """Handlers of everything `Paths` can read."""

    def __init__(self, store: SqliteStore, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._watches: set[asyncio.Task[Any]] = set()

    async def handle(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        if info.subresource not in (None, "status", "scale") or (
            info.subresource and info.subresource not in (*info.kind.subresources, "status")
        ):
            raise errors.no_such_resource()
        if info.subresource == "status" and not info.kind.has_status:
            raise errors.no_such_resource()
        match request.method, info.name:
            case "GET", None:
                watching = request.query.get("watch", "") in ("1", "true")
                return await (self._watch if watching else self._list)(request, info)
            case "GET", _:
                return await self._get(request, info)
            case "POST", None:
                return await self._create(request, info)
            case "PUT" | "PATCH", str():
                return await self._update(request, info)
            case "DELETE", None:
                return await self._delete_collection(request, info)
            case "DELETE", _:
                return await self._delete(request, info)
        raise errors.method_not_allowed()

    def stop(self) -> None:
        """End every watch, so that the server can shut down."""
        for task in self._watches:
            task.cancel()

    # Reading ---------------------------------------------------------------------------------------------------

    async def _get(self, request: web.Request, info: RequestInfo) -> web.Response:
        shape = Representation(request, info)
        try:
            obj = await self._store.get(info.kind, info.namespace, info.name or "")
        except NotFound:
            raise errors.not_found(info.kind, info.name or "") from None
        if info.subresource == "scale":
            return web.json_response(to_scale(obj))
        return web.json_response(shape.one(obj))

    async def _list(self, request: web.Request, info: RequestInfo) -> web.Response:
        shape = Representation(request, info)
        selected = _selection(request, info)
        objects, version = await self._store.list(info.kind, info.namespace)
        found = [obj for obj in objects if selected(obj)]
        meta: Object = {"resourceVersion": str(version)}
        if start := request.query.get("continue"):
            meta["resourceVersion"], after = _read_continue(start)
            found = [obj for obj in found if _position(obj) > after]
        limit = _number(request, "limit") or 0
        if limit and len(found) > limit:
            meta["remainingItemCount"] = len(found) - limit
            found = found[:limit]
            meta["continue"] = _write_continue(meta["resourceVersion"], _position(found[-1]))
        return web.json_response(shape.many(found, meta))

    async def _watch(self, request: web.Request, info: RequestInfo) -> web.StreamResponse:
        shape = Representation(request, info)
        selected = _selection(request, info)
        initial = request.query.get("sendInitialEvents") == "true"
        version = request.query.get("resourceVersion", "")
        changes = events(
            self._store,
            info.kind,
            None if initial or version in ("", "0") else _version(version),
            selected,
            bookmarks=request.query.get("allowWatchBookmarks") in ("1", "true"),
            initial_end=initial,
        )
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        seconds = float(_number(request, "timeoutSeconds") or _DEFAULT_WATCH_SECONDS)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            async with asyncio.timeout(seconds):
                await _stream(response, changes, shape)
        except (TimeoutError, ConnectionResetError):
            pass
        finally:
            self._watches.discard(task)
            await changes.aclose()  # type: ignore[attr-defined]
        return response

    # Writing ---------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request, info: RequestInfo) -> web.Response:
        shape, options = Representation(request, info), _write_options(request)
        obj = await self._writer.create(info, await body_of.read(request), options)
        return _written(shape.one(obj), options, 201)

    async def _update(self, request: web.Request, info: RequestInfo) -> web.Response:
        shape, options = Representation(request, info), _write_options(request)
        media_type = request.content_type
        patching = request.method == "PATCH"
        body = await body_of.read(request)
        if info.subresource == "scale":
            scaled = await from_scale(
                self._writer, self._store, info, media_type if patching else None, body, options
            )
            return _written(scaled, options, 200)
        if not patching:
            obj = await self._writer.replace(info, body, options)
            return _written(shape.one(obj), options, 200)
        if media_type == APPLY_PATCH:
            if not request.query.get("fieldManager"):
                raise errors.bad_request(
                    "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
                )
            existed = await self._exists(info)
            obj = await self._writer.patch(info, media_type, body, options)
            return _written(shape.one(obj), options, 200 if existed else 201)
        obj = await self._writer.patch(info, media_type, body, options)
        return _written(shape.one(obj), options, 200)

    async def _exists(self, info: RequestInfo) -> bool:
        try:
            await self._store.get(info.kind, info.namespace, info.name or "")
        except NotFound:
            return False
        return True

    async def _delete(self, request: web.Request, info: RequestInfo) -> web.Response:
        if info.subresource:
            raise errors.method_not_allowed()
        shape = Representation(request, info)
        obj, gone = await self._writer.delete(info, await _delete_options(request))
        if not gone or info.kind.resource == "pods":
            return web.json_response(shape.one(obj))
        details = {"name": info.name, "kind": info.kind.plural, "uid": obj["metadata"]["uid"]}
        if info.kind.group:
            details["group"] = info.kind.group
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }
        return web.json_response(status)

    async def _delete_collection(self, request: web.Request, info: RequestInfo) -> web.Response:
        shape, selected = Representation(request, info), _selection(request, info)
        options = await _delete_options(request)
        objects, version = await self._store.list(info.kind, info.namespace)
        deleted = []
        for obj in filter(selected, objects):
            meta = obj["metadata"]
            one = RequestInfo(info.kind, info.version, meta.get("namespace"), meta["name"], None)
            try:
                deleted.append((await self._writer.delete(one, options))[0])
            except errors.ApiError as exc:
                if exc.code != 404:
                    raise
        return web.json_response(shape.many(deleted, {"resourceVersion": str(version)}))


async def _stream(
    response: web.StreamResponse, changes: AsyncIterator[WatchEvent], shape: Representation
) -> None:
    """Write events as JSON lines; what ends a watch early is itself an event."""
    first = True
    try:
        async for event in changes:
            shown = event.object if event.type == "BOOKMARK" else shape.one(event.object, with_columns=first)
            if event.type == "BOOKMARK":
                shown = shape.bookmark(event.object)
            else:
                first = False
            await response.write(json.dumps({"type": event.type, "object": shown}).encode() + b"\n")
    except Expired as exc:
        gone = errors.expired(str(exc)).status()
        await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")


def _selection(request: web.Request, info: RequestInfo) -> Predicate:
    try:
        labelled = parse_labels(request.query.get("labelSelector", ""))
        fields = parse_fields(request.query.get("fieldSelector", ""))
    except BadSelector as exc:
        raise errors.bad_request(str(exc)) from exc
    return in_scope(info.namespace, lambda obj: labelled(obj["metadata"].get("labels") or {}), fields)


def _position(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _write_continue(version: str, position: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([version, *position]).encode()).decode()


def _read_continue(token: str) -> tuple[str, tuple[str, str]]:
    try:
        version, namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except ValueError as exc:
        raise errors.bad_request("continue key is not valid") from exc
    return version, (namespace, name)


def _version(text: str) -> int:
    if not text.isdigit():
        raise errors.bad_request(f'Invalid value: "{text}": resourceVersion must be a number')
    return int(text)


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    if text and not text.lstrip("-").isdigit():
        raise errors.bad_request(f'{name}: Invalid value: "{text}"')
    return int(text) if text else None


def _dry_run(values: list[str]) -> bool:
    if any(value != "All" for value in values):
        raise errors.bad_request(f'dryRun: Unsupported value: {json.dumps(values)}: supported values: "All"')
    return bool(values)


def _write_options(request: web.Request) -> WriteOptions:
    query = request.query
    strictness = query.get("fieldValidation") or "Strict"
    if strictness not in ("Strict", "Warn", "Ignore"):
        raise errors.bad_request(f'fieldValidation: Unsupported value: "{strictness}"')
    return WriteOptions(
        manager=query.get("fieldManager") or _agent(request),
        dry_run=_dry_run(query.getall("dryRun", [])),
        strictness=strictness,  # type: ignore[arg-type]
        force=query.get("force") == "true",
    )


def _agent(request: web.Request) -> str:
    """The manager a client without a fieldManager is known by: its program's name."""
    return request.headers.get("User-Agent", "unknown").partition("/")[0] or "unknown"


async def _delete_options(request: web.Request) -> DeleteOptions:
    body = await body_of.read(request) if request.can_read_body else {}
    body = body if isinstance(body, dict) else {}
    wanted = body.get("preconditions") or {}
    grace = _number(request, "gracePeriodSeconds")
    orphan = body.get("orphanDependents")
    propagation = request.query.get("propagationPolicy") or body.get("propagationPolicy")
    return DeleteOptions(
        grace_seconds=body.get("gracePeriodSeconds") if grace is None else grace,
        propagation=propagation or ("Orphan" if orphan else "Background"),
        uid=wanted.get("uid"),
        version=wanted.get("resourceVersion"),
        dry_run=_dry_run(request.query.getall("dryRun", []) or body.get("dryRun") or []),
    )


def _written(shown: Object, options: WriteOptions, code: int) -> web.Response:
    response = web.json_response(shown, status=code)
    for warning in _told(options.warnings):
        response.headers.add("Warning", f'299 - "{_quoted(warning)}"')
    return response


def _told(warnings: list[str]) -> list[str]:
    if len(warnings) <= _MAX_WARNINGS:
        return warnings
    return [*warnings[:_MAX_WARNINGS], f"and {len(warnings) - _MAX_WARNINGS} more: see `glassmesh analyze`"]


def _quoted(warning: str) -> str:
    """As the text of a header: quoted, without what would end it."""
    printable = "".join(char if char.isprintable() else " " for char in warning[:_MAX_WARNING])
    return printable.replace("\\", "\\\\").replace('"', '\\"')
