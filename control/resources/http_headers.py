"""Operations on headers, and what may be a header's name and value.

Reference: istio.io/api networking/v1alpha3/virtual_service.proto (Headers); validation as istio's
ValidateHTTPHeaderWithAuthorityOperationName, ValidateHTTPHeaderOperationName, ValidateHTTPHeaderValue, validateAuthorityRewrite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from control.resources.header_format import header_value_problem, not_in_sidecar
from control.resources.kind import FieldError
from control.resources.model import Model

_NAME = re.compile(r"[-_A-Za-z0-9!#$%&'*+.^`|~]+")
_NOT_IN_TEXT = re.compile(r"[\0\r\n]")
_MAX_NAME = 16384  # bytes; envoy's HeaderValue


def header_name_problem(name: str) -> str | None:
    if not name:
        return "header name cannot be empty"
    valid = len(name) <= _MAX_NAME and _NAME.fullmatch(name)
    return None if valid else f"header name {name} is not a valid header name"


def line_problem(text: str | None) -> str | None:
    """Why a text cannot be part of a request's or an answer's head."""
    return f"{json.dumps(text)} contains a line break or NUL" if text and _NOT_IN_TEXT.search(text) else None


def is_authority(name: str) -> bool:
    return name.lower() in ("host", ":authority")


def _operation_problem(name: str, authority_allowed: bool) -> str | None:
    if not name:
        return "header name cannot be empty"
    if is_authority(name) and authority_allowed:
        return None
    if name.lower() == "host":
        return f"invalid header {json.dumps(name)}: cannot set Host header"
    if name.startswith(":"):
        return f'invalid header {json.dumps(name)}: header cannot have ":" prefix'
    return header_name_problem(name)


class HeaderOperations(Model):
    """Headers to set, add and remove."""

    set: dict[str, str] | None = None
    add: dict[str, str] | None = None
    remove: list[str] | None = None

    def refused(self, authority_allowed: bool) -> Iterator[FieldError]:
        """Only a request's authority may be set or added."""
        for field, values in (("set", self.set or {}), ("add", self.add or {})):
            for name, value in values.items():
                problem = _operation_problem(name, authority_allowed) or header_value_problem(value)
                if problem:
                    yield FieldError(f"{field}.{name}" if name else field, problem)
        for index, name in enumerate(self.remove or []):
            problem = _operation_problem(name, False)
            if problem:
                yield FieldError(f"remove[{index}]", problem)

    def doubts(self) -> Iterator[FieldError]:
        for field, values in (("set", self.set or {}), ("add", self.add or {})):
            for name, value in values.items():
                for operator in not_in_sidecar(value):
                    why = f"%{operator}% is not implemented in Glassmesh's sidecar, which refuses its configuration with it"
                    yield FieldError(f"{field}.{name}", why)


class Headers(Model):
    """Operations on the headers of the request and of the response."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None

    def problems(self) -> Iterator[FieldError]:
        for side, operations in (("request", self.request), ("response", self.response)):
            for error in operations.refused(side == "request") if operations else ():
                yield FieldError(f"{side}.{error.path}", error.message)


def authority_problems(rewritten: str | None, headers: Headers | None) -> Iterator[FieldError]:
    """The authority is rewritten in one place only: by `rewrite`, or by one of the operations."""
    current = rewritten or ""
    operations = headers.request if headers else None
    for field, values in (
        ("set", (operations.set if operations else None) or {}),
        ("add", (operations.add if operations else None) or {}),
    ):
        for name, value in values.items():
            if not is_authority(name):
                continue
            if current:
                yield FieldError(
                    f"headers.request.{field}.{name}",
                    f"authority header cannot be set multiple times: have {json.dumps(current)}, "
                    f"attempting to set {json.dumps(value)}",
                )
            else:
                current = value
