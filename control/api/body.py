"""Request bodies: JSON, YAML, or Kubernetes' protobuf, as plain objects."""

from __future__ import annotations

import json
from typing import Any

import yaml
from aiohttp import web

from control.api import errors, protobuf
from control.api.write import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

_JSON = {"application/json", "application/octet-stream", JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH}
_YAML = {"application/yaml", APPLY_PATCH}


async def read(request: web.Request) -> Any:
    """The document in a body. Raises ApiError 400, or 415 for a type that is not read here."""
    data = await request.read()
    media_type = request.content_type
    try:
        if media_type in _JSON:
            return json.loads(data)
        if media_type in _YAML:
            # JSON is YAML, but its own parser is an order of magnitude faster, and kubectl sends JSON.
            return json.loads(data) if data.startswith(b"{") else yaml.load(data, yaml.CSafeLoader)
        if media_type == protobuf.MEDIA_TYPE:
            return protobuf.decode(data)
    except (ValueError, yaml.YAMLError) as exc:
        raise errors.bad_request(f"the object provided is unrecognized: {exc}") from exc
    raise errors.unsupported_media_type(sorted({*_JSON, *_YAML, protobuf.MEDIA_TYPE}))
