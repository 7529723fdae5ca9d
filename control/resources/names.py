"""The formats of names, labels and ports that Kubernetes checks, with its messages.

Each function returns None for a good value, else the message. Reference: k8s.io/apimachinery/pkg/util/validation.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS1123_LABEL = re.compile(_LABEL)
_DNS1123_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS1035_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
    "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
    "an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def dns1123_label(value: str) -> str | None:
    if len(value) > 63:
        return "must be no more than 63 characters"
    return None if _DNS1123_LABEL.fullmatch(value) else _LABEL_TEXT


def dns1123_subdomain(value: str) -> str | None:
    if len(value) > 253:
        return "must be no more than 253 characters"
    return None if _DNS1123_SUBDOMAIN.fullmatch(value) else _SUBDOMAIN_TEXT


def dns1035_label(value: str) -> str | None:
    if len(value) > 63:
        return "must be no more than 63 characters"
    return None if _DNS1035_LABEL.fullmatch(value) else _DNS1035_TEXT


def qualified_name(value: str) -> str | None:
    prefix, slash, name = value.rpartition("/")
    if slash:
        if not prefix:
            return "prefix part must be non-empty"
        problem = dns1123_subdomain(prefix)
        if problem:
            return f"prefix part {problem}"
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    return None if _QUALIFIED.fullmatch(name) else _QUALIFIED_TEXT


def label_value(value: str) -> str | None:
    if len(value) > 63:
        return "must be no more than 63 characters"
    return None if not value or _QUALIFIED.fullmatch(value) else _LABEL_VALUE_TEXT


def port_name(value: str) -> str | None:
    if len(value) > 15:
        return "must be no more than 15 characters"
    if not _PORT_NAME.fullmatch(value) or "--" in value:
        return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    return None if any(char.isalpha() for char in value) else "must contain at least one letter (a-z)"


def port_number(value: int) -> str | None:
    return None if 1 <= value <= 65535 else "must be between 1 and 65535, inclusive"


def _port(value: int) -> int:
    problem = port_number(value)
    if problem:
        raise ValueError(f"Invalid value: {value}: {problem}")
    return value


def _named(value: str) -> str:
    problem = dns1123_label(value)
    if problem:
        raise ValueError(f'Invalid value: "{value}": {problem}')
    return value


def _not_negative(value: int) -> int:
    if value < 0:
        raise ValueError(f"Invalid value: {value}: must be greater than or equal to 0")
    return value


def _timestamp(value: str) -> str:
    try:
        zoned = datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned:
        raise ValueError(f'Invalid value: "{value}": must be an RFC 3339 time')
    return value


Timestamp = Annotated[str, AfterValidator(_timestamp)]
Port = Annotated[int, AfterValidator(_port)]
Dns1123Label = Annotated[str, AfterValidator(_named)]
NotNegative = Annotated[int, AfterValidator(_not_negative)]
