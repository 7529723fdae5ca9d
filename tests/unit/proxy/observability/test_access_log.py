"""Access loggers: filters, one file per path, lines written only when flushed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config.access_log import (
    AccessLog,
    AccessLogFilter,
    Comparison,
    ComparisonFilter,
    FileAccessLog,
    ResponseFlagFilter,
    RuntimeUInt32,
    SubstitutionFormat,
    TextSource,
)
from proxy.observability import response_flags
from proxy.observability.access_log import AccessLogs
from proxy.observability.access_log_format import FormatError
from proxy.observability.stats import StatsStore
from proxy.observability.stream_info import StreamInfo


def logger_config(path: Path | str, text: str = "%RESPONSE_CODE%\n", **rest: Any) -> AccessLog:
    log_format = SubstitutionFormat(text_format_source=TextSource(inline_string=text))
    return AccessLog(name="file", typed_config=FileAccessLog(path=str(path), log_format=log_format), **rest)


def ended(code: int = 200, flags: int = 0, seconds: float = 0.0) -> StreamInfo:
    info = StreamInfo()
    info.response_code, info.response_flags, info.start, info.end = code, flags, 1.0, 1.0 + seconds
    return info


def comparison(op: str, value: int) -> ComparisonFilter:
    return ComparisonFilter(comparison=Comparison(op=op, value=RuntimeUInt32(default_value=value)))


def test_written_when_flushed_and_shared_by_path(tmp_path: Path) -> None:
    logs = AccessLogs(StatsStore())
    one, two = logs.loggers([logger_config(tmp_path / "a"), logger_config(tmp_path / "a", "two\n")])
    one(ended())
    two(ended())
    assert (tmp_path / "a").read_text() == ""
    logs.flush()
    assert (tmp_path / "a").read_text() == "200\ntwo\n"
    one(ended(404))
    logs.close()
    assert (tmp_path / "a").read_text() == "200\ntwo\n404\n"


FILTERS = [
    (AccessLogFilter(status_code_filter=comparison("GE", 400)), [ended(404)], [ended(399)]),
    (AccessLogFilter(status_code_filter=comparison("NE", 200)), [ended(204)], [ended(200)]),
    (AccessLogFilter(status_code_filter=comparison("EQ", 200)), [ended(200)], [ended(201)]),
    (AccessLogFilter(duration_filter=comparison("LE", 10)), [ended(seconds=0.0105)], [ended(seconds=0.02)]),
    (AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=["UF"])), [ended(flags=response_flags.UF)],
     [ended(), ended(flags=response_flags.DC)]),
    (AccessLogFilter(response_flag_filter=ResponseFlagFilter()), [ended(flags=response_flags.DC)], [ended()]),
]  # fmt: skip


@pytest.mark.parametrize(("config", "logged", "left_out"), FILTERS)
def test_filters(
    tmp_path: Path, config: AccessLogFilter, logged: list[StreamInfo], left_out: list[StreamInfo]
) -> None:
    logs = AccessLogs(StatsStore())
    (log,) = logs.loggers([logger_config(tmp_path / "a", "x", filter=config)])
    for info in (*logged, *left_out):
        log(info)
    logs.close()
    assert (tmp_path / "a").read_text() == "x" * len(logged)


def test_what_cannot_be_logged_is_refused(tmp_path: Path) -> None:
    logs = AccessLogs(StatsStore())
    bad_op = AccessLogFilter(status_code_filter=comparison("XX", 1))
    bad_flag = AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=["ZZ"]))
    for config in (
        logger_config("/nonexistent/file"),
        logger_config(tmp_path / "a", "%NO%"),
        logger_config(tmp_path / "a", filter=bad_op),
        logger_config(tmp_path / "a", filter=bad_flag),
    ):
        with pytest.raises(FormatError):
            logs.loggers([config])
    logs.close()


def test_a_reader_that_went_away_costs_lines_only() -> None:
    stats = StatsStore()
    logs = AccessLogs(stats)
    (log,) = logs.loggers([logger_config("/dev/full")])
    log(ended())
    logs.flush()
    assert stats.counter("access_log_file.write_failed").value == 1
    logs.close()


def test_a_full_buffer_is_written_without_waiting(tmp_path: Path) -> None:
    logs = AccessLogs(StatsStore())
    (log,) = logs.loggers([logger_config(tmp_path / "a", "x")])
    for _ in range(1024):
        log(ended())
    assert (tmp_path / "a").read_text() == "x" * 1024
    logs.close()
