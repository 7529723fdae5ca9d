"""Endpoints and EndpointSlice: the addresses behind a Service, derived from Services and Pods by the API."""

from __future__ import annotations

from typing import Annotated

from control.resources.kind import Column, Kind, Object
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import AnyObject, MergeKey, defaulter, list_keys, merge_keys, schema
from control.resources.validation import validator

_SHOWN = 3  # addresses printed before "+ N more..."


class Endpoints(TopLevel):
    """The addresses behind a Service, in the older form."""

    subsets: list[AnyObject] | None = None


class EndpointSlice(TopLevel):
    """The addresses behind a Service."""

    addressType: str
    endpoints: list[AnyObject]
    ports: Annotated[list[AnyObject] | None, MergeKey("name")] = None


def _few(items: list[str]) -> str:
    if not items:
        return "<none>"
    more = len(items) - _SHOWN
    return ",".join(items[:_SHOWN]) + (f" + {more} more..." if more > 0 else "")


def _subsets(obj: Object) -> str:
    return _few(
        [
            f"{address['ip']}:{port['port']}"
            for subset in obj.get("subsets") or []
            for port in subset.get("ports") or []
            for address in subset.get("addresses") or []
        ]
    )


def _ports(obj: Object) -> str:
    ports = [str(port["port"]) for port in obj.get("ports") or []]
    return _few(ports) if ports else "<unset>"


def _addresses(obj: Object) -> str:
    items = [address for endpoint in obj["endpoints"] for address in endpoint["addresses"]]
    return _few(items) if items else "<unset>"


_SLICE_KEYS = META_LIST_KEYS | list_keys(EndpointSlice)

KIND = Kind(
    group="",
    versions=("v1",),
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    columns=(Column("Endpoints", _subsets),),
    schema=schema(Endpoints),
    default=defaulter(Endpoints),
    validate=validator(Endpoints),
    merge_keys=merge_keys(META_LIST_KEYS),
    list_map_keys=META_LIST_KEYS,
)

SLICE = Kind(
    group="discovery.k8s.io",
    versions=("v1",),
    kind="EndpointSlice",
    plural="endpointslices",
    columns=(
        Column("AddressType", lambda o: o["addressType"]),
        Column("Ports", _ports),
        Column("Endpoints", _addresses),
    ),
    schema=schema(EndpointSlice),
    default=defaulter(EndpointSlice),
    validate=validator(EndpointSlice),
    merge_keys=merge_keys(_SLICE_KEYS),
    list_map_keys=_SLICE_KEYS,
)
