"""Access loggers. Reference: envoy/config/accesslog/v3, envoy/extensions/access_loggers/{file,stream}/v3."""

from __future__ import annotations

from typing import Any

from proxy.config.values import Message, UInt32, require_one

T = "type.googleapis.com/"


class TextSource(Message):
    inline_string: str


class SubstitutionFormat(Message):
    text_format_source: TextSource | None = None
    text_format: str | None = None
    json_format: dict[str, Any] | None = None
    omit_empty_values: bool = False

    def __post_init__(self) -> None:
        require_one(self, "text_format_source", "text_format", "json_format")

    @property
    def text(self) -> str | None:
        """The text format, None for JSON."""
        return self.text_format_source.inline_string if self.text_format_source else self.text_format


class FileAccessLog(
    Message, tag_field="@type", tag=T + "envoy.extensions.access_loggers.file.v3.FileAccessLog"
):
    path: str
    log_format: SubstitutionFormat | None = None


class StdoutAccessLog(
    Message, tag_field="@type", tag=T + "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
):
    log_format: SubstitutionFormat | None = None


class RuntimeUInt32(Message):
    default_value: UInt32 = 0
    runtime_key: str = ""


class Comparison(Message):
    value: RuntimeUInt32
    op: str = "EQ"  # EQ, GE, LE, NE


class ComparisonFilter(Message):
    comparison: Comparison


class ResponseFlagFilter(Message):
    flags: list[str] = []


class AccessLogFilter(Message):
    status_code_filter: ComparisonFilter | None = None
    duration_filter: ComparisonFilter | None = None
    response_flag_filter: ResponseFlagFilter | None = None

    def __post_init__(self) -> None:
        require_one(self, "status_code_filter", "duration_filter", "response_flag_filter")


class AccessLog(Message):
    name: str
    typed_config: FileAccessLog | StdoutAccessLog
    filter: AccessLogFilter | None = None
