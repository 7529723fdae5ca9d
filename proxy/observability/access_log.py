"""Access loggers from their configuration: filter, format, file.

A logger is a function over the ended request's `StreamInfo`; it appends one line to the file's buffer and makes no system
call. Files are flushed every second, when the buffer is large, and at exit; loggers of one path share one file.
Reference: Envoy "Access logging", `--file-flush-interval-msec` (Istio: 1000).
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from proxy.config.access_log import (
    AccessLog,
    AccessLogFilter,
    ComparisonFilter,
    StdoutAccessLog,
    SubstitutionFormat,
)
from proxy.observability import logging, response_flags
from proxy.observability.access_log_format import ENVOY_TEXT, FormatError, Line, compile_json, compile_text
from proxy.observability.stats import StatsStore
from proxy.observability.stream_info import StreamInfo

FLUSH_SECONDS = 1.0
_FLUSH_LINES: Final = 1024
_STDOUT = "/dev/stdout"
_DESCRIPTORS = {_STDOUT: 1, "/proc/self/fd/1": 1, "/dev/stderr": 2, "/proc/self/fd/2": 2}

Logger = Callable[[StreamInfo], None]
Test = Callable[[StreamInfo], bool]
Alone = Callable[[], AbstractContextManager[None]]
"""Keeps other processes that write to the same file out: what goes into a pipe in several pieces would be mixed up."""

log = logging.logger("main")


class AccessLogFile:
    """One open file with its unwritten lines."""

    def __init__(self, path: str, stats: StatsStore, alone: Alone = nullcontext) -> None:
        self.path = path
        self._alone = alone
        self._lines: list[str] = []
        self._descriptor = _DESCRIPTORS.get(path)
        self._dropped = stats.counter("access_log_file.write_failed")
        self._written = stats.counter("access_log_file.write_completed")
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o644)

    def append(self, line: str) -> None:
        lines = self._lines
        lines.append(line)
        if len(lines) >= _FLUSH_LINES:
            self.flush()

    def flush(self) -> None:
        """Write what is buffered. A reader that went away or is stuck costs lines, never requests."""
        if not self._lines or self._descriptor is None:
            return
        data = memoryview("".join(self._lines).encode("utf-8", "surrogateescape"))
        self._lines.clear()
        try:
            with self._alone():
                while data:
                    written = os.write(self._descriptor, data)
                    data = data[written:]
            self._written.value += 1
        except OSError:
            self._dropped.value += 1

    def close(self) -> None:
        self.flush()
        if self._descriptor is not None and self._descriptor > 2:
            os.close(self._descriptor)
        self._descriptor = None


class _LineLogger:
    """Appends the lines of requests that pass."""

    __slots__ = ("_file", "_line", "_passes")

    def __init__(self, file: AccessLogFile, line: Line, passes: Test | None) -> None:
        self._file = file
        self._line = line
        self._passes = passes

    def __call__(self, info: StreamInfo) -> None:
        if self._passes is None or self._passes(info):
            self._file.append(self._line.render(info))


class AccessLogs:
    """Every access log file of this sidecar, by path."""

    def __init__(self, stats: StatsStore, alone: Alone = nullcontext) -> None:
        self._stats = stats
        self._alone = alone
        self._files: dict[str, AccessLogFile] = {}

    def loggers(self, configs: Iterable[AccessLog]) -> list[Logger]:
        """The loggers of a listener or connection manager. Raises `FormatError` for what cannot be logged."""
        return [self._logger(config) for config in configs]

    def _logger(self, config: AccessLog) -> Logger:
        target = config.typed_config
        path = _STDOUT if isinstance(target, StdoutAccessLog) else target.path
        line = _line(target.log_format)
        passes = compile_filter(config.filter) if config.filter is not None else None
        return _LineLogger(self._file(path), line, passes)

    def _file(self, path: str) -> AccessLogFile:
        found = self._files.get(path)
        if found is None:
            try:
                found = self._files[path] = AccessLogFile(path, self._stats, self._alone)
            except OSError as error:
                raise FormatError(f"unable to open file '{path}': {error.strerror}") from error
        return found

    def flush(self) -> None:
        """To be called every `FLUSH_SECONDS`."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _line(config: SubstitutionFormat | None) -> Line:
    if config is None:
        return compile_text(ENVOY_TEXT)
    if config.text is not None:
        return compile_text(config.text, omit_empty=config.omit_empty_values)
    return compile_json(config.json_format or {}, omit_empty=config.omit_empty_values)


_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "EQ": operator.eq,
    "GE": operator.ge,
    "LE": operator.le,
    "NE": operator.ne,
}


def compile_filter(config: AccessLogFilter) -> Test:
    """A test of whether a request is logged."""
    if config.status_code_filter is not None:
        return _compare(config.status_code_filter, lambda info: info.response_code)
    if config.duration_filter is not None:
        return _compare(config.duration_filter, lambda info: int((info.end - info.start) * 1000))
    assert config.response_flag_filter is not None
    names = config.response_flag_filter.flags
    try:
        wanted = response_flags.bits(",".join(names))
    except ValueError as error:
        raise FormatError(f"response_flag_filter: {error}") from error
    return lambda info: bool(info.response_flags & wanted) if names else bool(info.response_flags)


def _compare(config: ComparisonFilter, value: Callable[[StreamInfo], int]) -> Test:
    comparison = config.comparison
    compare = _OPERATORS.get(comparison.op)
    if compare is None:
        raise FormatError(f"unknown comparison {comparison.op!r}")
    against = comparison.value.default_value
    return lambda info: compare(value(info), against)
