"""The life of a write: decode, default, check, admit, own, store; and of a deletion.

Decides the order of these steps. Must not know HTTP. Invariants: a refused write changes nothing; all errors of a
document are reported at once; a write that met another is decided again on what that one left.
Reference: k8s.io/apiserver/pkg/registry/generic/registry/store.go.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from control.api import errors
from control.api.admission import Admission, Denied, Review
from control.api.deletion import DeleteOptions, check_preconditions, is_let_go, marked_for_deletion
from control.api.document import SERVER_SET, decode, remove_field, with_fixed_parts
from control.api.managed_fields import Manager, Ownership, leaves
from control.api.patch import BadPatch, json_patch, merge_patch, strategic_merge
from control.api.request_info import RequestInfo
from control.api.server_side_apply import apply
from control.resources import namespace as namespaces
from control.resources import service_account
from control.resources.kind import UNKNOWN_FIELD, FieldError, Kind, Object
from control.resources.metadata import validate_metadata
from control.store.interface import AlreadyExists, Conflict, NotFound
from control.store.sqlite import SqliteStore, utc_now

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_ATTEMPTS = 10  # of a patch that meets concurrent writers
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words


@dataclass(slots=True)
class WriteOptions:
    """What a request asks besides its body. Warnings for the client are added to `warnings`."""

    manager: str = "unknown"
    dry_run: bool = False
    strictness: Literal["Strict", "Warn", "Ignore"] = "Strict"
    force: bool = False
    warnings: list[str] = field(default_factory=list)


class Writer:
    """Every write to the store that comes from outside, and those of the API's own controllers."""

    def __init__(self, store: SqliteStore, admission: Admission) -> None:
        self._store = store
        self._admission = admission

    # Create ----------------------------------------------------------------------------------------------------

    async def create(self, info: RequestInfo, body: Any, options: WriteOptions) -> Object:
        obj = decode(info, body)
        kind, meta = info.kind, obj["metadata"]
        if not meta.get("name") and meta.get("generateName"):
            # Not a secret: it only has to be unlikely to meet another.
            meta["name"] = meta["generateName"] + "".join(random.choices(_SUFFIX, k=5))  # noqa: S311
        for name in (*SERVER_SET, "resourceVersion", "selfLink"):
            meta.pop(name, None)
        if kind.has_status:
            obj.pop("status", None)
        await self._check_namespace(info)
        obj = await self._admit(info, obj, None, options)
        manager = Manager(options.manager, "Update")
        return await self._store_new(info, obj, Ownership([]), manager, options)

    async def _store_new(
        self, info: RequestInfo, obj: Object, owners: Ownership, manager: Manager, options: WriteOptions
    ) -> Object:
        if manager.operation == "Update":
            owners.give(manager, set(leaves(obj, info.kind.list_map_keys)), set())
        obj["metadata"]["managedFields"] = owners.entries(info.api_version, utc_now())
        name = obj["metadata"]["name"]
        try:
            if options.dry_run:
                await self._refuse_existing(info, name)
                return {**obj, "metadata": {**obj["metadata"], "creationTimestamp": utc_now()}}
            created = await self._store.create(info.kind, obj)
            if info.kind.resource == namespaces.KIND.resource:
                await self._store.create(service_account.KIND, service_account.default_of(name))
        except AlreadyExists:
            raise errors.already_exists(info.kind, name) from None
        return created

    async def _refuse_existing(self, info: RequestInfo, name: str) -> None:
        try:
            await self._store.get(info.kind, info.namespace, name)
        except NotFound:
            return
        raise AlreadyExists(name)

    async def _check_namespace(self, info: RequestInfo) -> None:
        if info.namespace is None:
            return
        try:
            space = await self._store.get(namespaces.KIND, None, info.namespace)
        except NotFound:
            raise errors.not_found(namespaces.KIND, info.namespace) from None
        if space["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {info.namespace} because it is being terminated"
            raise errors.forbidden(info.kind, info.name or "", why)

    # Update and patch ------------------------------------------------------------------------------------------

    async def replace(self, info: RequestInfo, body: Any, options: WriteOptions) -> Object:
        new = decode(info, body)
        return await self._change(
            info, lambda _old, _owners: new, Manager(options.manager, "Update"), options
        )

    async def patch(self, info: RequestInfo, media_type: str, patch: Any, options: WriteOptions) -> Object:
        kind = info.kind
        if media_type == APPLY_PATCH:
            return await self._apply(info, patch, options)
        applications: dict[str, Callable[[Object], Object]] = {
            JSON_PATCH: lambda old: json_patch(old, patch),
            MERGE_PATCH: lambda old: merge_patch(old, patch),
        }
        if kind.merge_keys:
            applications[STRATEGIC_PATCH] = lambda old: strategic_merge(old, patch, kind.merge_keys)
        change = applications.get(media_type)
        if change is None:
            raise errors.unsupported_media_type((*applications, APPLY_PATCH))

        def changed(old: Object, _owners: Ownership) -> Object:
            try:
                return decode(info, change(old))
            except BadPatch as exc:
                raise errors.ApiError(422, "Invalid", str(exc)) from exc

        return await self._change(info, changed, Manager(options.manager, "Update"), options)

    async def _apply(self, info: RequestInfo, patch: Any, options: WriteOptions) -> Object:
        wanted = decode(info, patch)
        if wanted["metadata"].get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        if info.kind.has_status and info.subresource is None:
            wanted.pop("status", None)
        wanted["metadata"].pop("creationTimestamp", None)
        manager = Manager(options.manager, "Apply", info.subresource or "")
        lists = info.kind.list_map_keys

        def merged(old: Object, owners: Ownership) -> Object:
            return apply(old, wanted, owners, manager, lists, force=options.force)

        try:
            await self._store.get(info.kind, info.namespace, info.name or "")
        except NotFound:
            if info.subresource or wanted["metadata"].get("uid"):
                raise errors.not_found(info.kind, info.name or "") from None
            await self._check_namespace(info)
            wanted["metadata"].pop("resourceVersion", None)
            owners = Ownership([])
            owners.paths[manager] = set(leaves(wanted, lists))
            obj = await self._admit(info, wanted, None, options)
            return await self._store_new(info, obj, owners, manager, options)
        return await self._change(info, merged, manager, options)

    async def _change(
        self,
        info: RequestInfo,
        change: Callable[[Object, Ownership], Object],
        manager: Manager,
        options: WriteOptions,
    ) -> Object:
        """Read, change, check, write; again from the start while others write in between."""
        kind, name = info.kind, info.name or ""
        for _ in range(_ATTEMPTS):
            old = await self._get(info)
            owners = Ownership(old["metadata"].get("managedFields") or [])
            new = change(old, owners)
            new = with_fixed_parts(info, old, new)
            new = await self._admit(info, new, old, options)
            self._own(info, old, new, owners, manager)
            if options.dry_run:
                return new
            try:
                stored = await self._store.update(kind, new)
            except Conflict:
                continue  # a version the client named is compared again, with what is stored now
            except NotFound:
                raise errors.not_found(kind, name) from None
            return await self._remove_if_let_go(kind, stored)
        raise errors.conflict(kind, name, errors.MODIFIED)

    def _own(self, info: RequestInfo, old: Object, new: Object, owners: Ownership, manager: Manager) -> None:
        sent = new["metadata"].get("managedFields")
        if (
            sent is not None
            and sent != old["metadata"].get("managedFields")
            and manager.operation == "Update"
        ):
            owners = Ownership(sent)  # the client moves ownership, as `kubectl apply --server-side` does once
        if manager.operation == "Update":
            manager = Manager(manager.name, "Update", info.subresource or "")
            lists = info.kind.list_map_keys
            before, after = leaves(old, lists), leaves(new, lists)
            changed = {path for path, value in after.items() if path not in before or before[path] != value}
            owners.give(manager, changed, before.keys() - after.keys())
        new["metadata"]["managedFields"] = owners.entries(info.api_version, utc_now())

    async def _get(self, info: RequestInfo) -> Object:
        try:
            return await self._store.get(info.kind, info.namespace, info.name or "")
        except NotFound:
            raise errors.not_found(info.kind, info.name or "") from None

    # Checks ----------------------------------------------------------------------------------------------------

    async def _admit(
        self, info: RequestInfo, obj: Object, old: Object | None, options: WriteOptions
    ) -> Object:
        """Defaults, validation, mutation. Returns an object whose metadata is ours to change."""
        obj = self._checked(info, obj, old, options)
        for mutate in self._admission.mutators:
            try:
                changed = await mutate(self._review(info, obj, old, options))
            except Denied as exc:
                raise errors.forbidden(info.kind, obj["metadata"]["name"], str(exc)) from exc
            if changed is not obj:
                obj = self._checked(info, changed, old, options)
        for check in self._admission.validators:
            verdict = await check(self._review(info, obj, old, options))
            options.warnings.extend(verdict.warnings)
            if verdict.errors:
                raise errors.invalid(info.kind, obj["metadata"]["name"], verdict.errors)
        return {**obj, "metadata": dict(obj["metadata"])}

    def _review(self, info: RequestInfo, obj: Object, old: Object | None, options: WriteOptions) -> Review:
        operation: Literal["CREATE", "UPDATE"] = "CREATE" if old is None else "UPDATE"
        return Review(operation, info.kind, info.namespace, obj, old, self._store, options.dry_run)

    def _checked(self, info: RequestInfo, obj: Object, old: Object | None, options: WriteOptions) -> Object:
        kind = info.kind
        obj = kind.default(obj)
        verdict = kind.validate(obj)
        found = list(validate_metadata(obj).errors) + list(verdict.errors)
        unknown = [error for error in found if error.reason == UNKNOWN_FIELD]
        if unknown and options.strictness != "Strict":
            for error in unknown:
                remove_field(obj, error.path)
            if options.strictness == "Warn":
                options.warnings.extend(error.message for error in unknown)
            obj = kind.default(obj)
            verdict = kind.validate(obj)
            found = list(validate_metadata(obj).errors) + list(verdict.errors)
        for warning in verdict.warnings:
            if warning not in options.warnings and info.subresource is None:
                options.warnings.append(warning)
        if not found and old is not None:
            found = list(kind.validate_update(old, obj).errors)
        if found:
            raise _refusal(info, obj, found)
        return obj

    # Delete ----------------------------------------------------------------------------------------------------

    async def delete(self, info: RequestInfo, options: DeleteOptions) -> tuple[Object, bool]:
        """Delete or mark for deletion; the object, and whether it is gone."""
        for _ in range(_ATTEMPTS):
            old = await self._get(info)
            check_preconditions(info, old, options)
            marked = marked_for_deletion(info.kind, old, options, datetime.now(UTC))
            try:
                if marked is None:
                    if options.dry_run:
                        return old, True
                    version = old["metadata"]["resourceVersion"]
                    gone = await self._store.delete(info.kind, info.namespace, info.name or "", version)
                    return gone, True
                if options.dry_run:
                    return marked, False
                return await self._store.update(info.kind, marked), False
            except Conflict:
                continue
            except NotFound:
                raise errors.not_found(info.kind, info.name or "") from None
        raise errors.conflict(info.kind, info.name or "", errors.MODIFIED)

    async def _remove_if_let_go(self, kind: Kind, obj: Object) -> Object:
        """The last finalizer of a deleted object is gone: so is the object."""
        meta = obj["metadata"]
        if not is_let_go(kind, obj):
            return obj
        try:
            return await self._store.delete(kind, meta.get("namespace"), meta["name"])
        except NotFound:
            return obj


def _refusal(info: RequestInfo, obj: Object, found: list[FieldError]) -> errors.ApiError:
    meta = obj.get("metadata")
    name = str(meta.get("name", "")) if isinstance(meta, dict) else ""
    if all(error.reason == UNKNOWN_FIELD for error in found):
        return errors.strict_decoding(info.kind, info.version, found)
    return errors.invalid(info.kind, name, found)
