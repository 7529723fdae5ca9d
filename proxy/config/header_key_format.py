"""How HTTP/1.1 header names are spelled on the wire: lower-case, or as the other side spelled them.

Reference: envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat; envoy.extensions.http.header_formatters.preserve_case.v3.
"""

from __future__ import annotations

from typing import Literal

from proxy.config.values import Message

_PRESERVE_CASE = (
    "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
)


class PreserveCase(Message, tag_field="@type", tag=_PRESERVE_CASE):
    """Headers of our own stay lower-case; the reason phrase is the standard one."""

    forward_reason_phrase: Literal[False] = False
    formatter_type_on_envoy_headers: Literal["DEFAULT"] = "DEFAULT"


class StatefulFormatter(Message):
    name: str
    typed_config: PreserveCase


class HeaderKeyFormat(Message):
    stateful_formatter: StatefulFormatter
