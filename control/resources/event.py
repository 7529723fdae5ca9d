"""Event: what happened to an object, told by a controller or the node, for `kubectl describe`.

Columns as in Kubernetes' pkg/printers/internalversion/printers.go (printEvent).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from control.resources.age import age
from control.resources.kind import Column, Kind, Object
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import AnyObject, Model, defaulter, merge_keys, schema
from control.resources.names import Timestamp
from control.resources.validation import validator


class ObjectReference(Model):
    """The object an Event is about."""

    apiVersion: str | None = None
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None
    fieldPath: str | None = None


class EventSeries(Model):
    """How often an Event was repeated, and when last."""

    count: int | None = None
    lastObservedTime: Timestamp | None = None


class Event(TopLevel):
    """An Event tells what happened to an object."""

    involvedObject: ObjectReference
    type: str | None = None
    reason: str | None = None
    message: str | None = None
    source: AnyObject = Field(default={})
    count: int | None = None
    firstTimestamp: Timestamp | None = None
    lastTimestamp: Timestamp | None = None
    eventTime: Timestamp | None = None
    series: EventSeries | None = None
    action: str | None = None
    related: ObjectReference | None = None
    reportingComponent: str = ""
    reportingInstance: str = ""


def _about(event: Object) -> str:
    about = event["involvedObject"]
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _first(event: Object) -> Any:
    return event.get("firstTimestamp") or event.get("eventTime")


def _last(event: Object) -> Any:
    return (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or _first(event)


def _source(event: Object) -> str:
    source = event.get("source") or {}
    parts = (source.get("component") or event.get("reportingComponent"), source.get("host"))
    return ", ".join(part for part in parts if part)


KIND = Kind(
    group="",
    versions=("v1",),
    kind="Event",
    plural="events",
    short_names=("ev",),
    columns=(
        Column("Last Seen", lambda e: age(_last(e))),
        Column("Type", lambda e: e.get("type") or ""),
        Column("Reason", lambda e: e.get("reason") or ""),
        Column("Object", _about),
        Column("Subobject", lambda e: e["involvedObject"].get("fieldPath") or "", wide=True),
        Column("Source", _source, wide=True),
        Column("Message", lambda e: (e.get("message") or "").strip()),
        Column("First Seen", lambda e: age(_first(e)), wide=True),
        Column("Count", lambda e: e.get("count") or 1, wide=True),
        Column("Name", lambda e: e["metadata"]["name"], "name", wide=True),
    ),
    schema=schema(Event),
    default=defaulter(Event),
    validate=validator(Event),
    merge_keys=merge_keys(META_LIST_KEYS),
    list_map_keys=META_LIST_KEYS,
)
