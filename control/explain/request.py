"""A request as a user writes it: method, URL and headers, and where its host name leads.

Decides how the words are read and which address an app would connect to; it knows no configuration but the mesh's names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote, urlsplit

_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What clients leave in a path as it is; everything else they encode.
_PATH = "%/:?#[]@!$&'()*+,;=-._~|\\^`{}\"<>"


class BadRequest(ValueError):
    """The request cannot be read; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `path` includes the query; `authority` is its Host header; header names are lower-case."""

    method: str
    scheme: str
    host: str
    port: int
    path: str
    authority: str
    headers: tuple[tuple[str, str], ...]

    @property
    def url(self) -> str:
        return f"{self.scheme}://{_written(self.host)}:{self.port}{self.path}"


def parse(method: str, url: str, headers: Iterable[str]) -> Asked:
    """Of command line arguments; each header is `Name: value`. Raises BadRequest."""
    if not _METHOD.fullmatch(method):
        raise BadRequest(f"{method!r} is no HTTP method")
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"{url} is no URL: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise BadRequest(f"{url}: the scheme is http or https, not {parts.scheme!r}")
    if not parts.hostname:
        raise BadRequest(f"{url} names no host")
    fields = [_header(text) for text in headers]
    host = parts.hostname
    authority = f"{_written(host)}:{port}" if port is not None else _written(host)
    query = f"?{parts.query}" if parts.query else ""
    return Asked(
        method=method,
        scheme=parts.scheme,
        host=host,
        port=port if port is not None else _DEFAULT_PORTS[parts.scheme],
        path=quote(f"{parts.path or '/'}{query}", safe=_PATH),
        authority=next((value for name, value in fields if name == "host"), authority),
        headers=tuple((name, value) for name, value in fields if name != "host"),
    )


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise BadRequest(f"header {text!r} is not NAME: VALUE")
    return name.strip().lower(), value.strip()


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def service_name(host: str, known: Mapping[str, str], namespace: str, domain: str) -> str | None:
    """The service a name stands for, as a pod's resolver searches; None when there is none in the mesh."""
    name = host.lower().removesuffix(".")
    search = ("", f".{namespace}.svc.{domain}", f".svc.{domain}", f".{domain}")
    return next((name + suffix for suffix in search if name + suffix in known), None)
