"""The scalar and small message types that Envoy's resources share, as protobuf JSON spells them.

Every message is a frozen Struct that refuses a field it does not know: what is not modelled is not implemented,
and saying so is better than ignoring it. Field names are those of the `.proto` files.
Reference: envoy/type/v3, envoy/type/matcher/v3, envoy/config/core/v3; protobuf JSON mapping.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal

import msgspec


class Message(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of every typed resource. Shared once decoded: nobody changes one."""


UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]
HeaderText = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00\r\n]*\Z")]
"""What may stand in a header: no text can begin a line of its own."""
HttpStatus = Annotated[int, msgspec.Meta(ge=100, le=599)]


_DURATION = re.compile(r"\d{1,12}(\.\d{1,9})?s\Z", re.ASCII)


class Duration(float):
    """Seconds. JSON: a decimal number followed by `s`, such as `"0.250s"`."""


class UInt64(int):
    """JSON: a number, or a string of digits."""


def decode_hook(wanted: type, value: Any) -> Any:
    """Build the scalars JSON has no type for; raises ValueError with what is wrong."""
    if wanted is Duration:
        if not isinstance(value, str) or not _DURATION.match(value):
            raise ValueError(f"want a duration such as '1.5s', got {value!r}")
        return Duration(value[:-1])
    if wanted is UInt64:
        if (
            isinstance(value, bool)
            or not re.fullmatch(r"\d{1,20}", str(value), re.ASCII)
            or int(value) >= 2**64
        ):
            raise ValueError(f"want an unsigned integer, got {value!r}")
        return UInt64(value)
    raise NotImplementedError(wanted)


class Percent(Message):
    value: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0


_DENOMINATORS = {"HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000}


class FractionalPercent(Message):
    numerator: UInt32 = 0
    denominator: str = "HUNDRED"

    def __post_init__(self) -> None:
        if self.denominator not in _DENOMINATORS:
            raise ValueError(f"unknown denominator {self.denominator!r}")

    @property
    def fraction(self) -> float:
        """The share, 0 to 1."""
        return min(1.0, self.numerator / _DENOMINATORS[self.denominator])


class RuntimeFractionalPercent(Message):
    default_value: FractionalPercent
    runtime_key: str = ""


class GoogleRe2(Message):
    max_program_size: UInt32 | None = None


class RegexMatcher(Message):
    """A full match in RE2 syntax."""

    regex: NonEmpty
    google_re2: GoogleRe2 | None = None


class RegexMatchAndSubstitute(Message):
    pattern: RegexMatcher
    substitution: HeaderText = ""


class StringMatcher(Message):
    """Exactly one of the patterns is set."""

    exact: str | None = None
    prefix: NonEmpty | None = None
    suffix: NonEmpty | None = None
    contains: NonEmpty | None = None
    safe_regex: RegexMatcher | None = None
    ignore_case: bool = False

    def __post_init__(self) -> None:
        require_one(self, "exact", "prefix", "suffix", "contains", "safe_regex")
        if self.ignore_case and self.safe_regex is not None:
            raise ValueError("ignore_case has no effect for safe_regex")


class Int64Range(Message):
    """Half open: start ≤ value < end."""

    start: int = 0
    end: int = 0


class HeaderValue(Message):
    key: Annotated[HeaderText, msgspec.Meta(min_length=1)]
    value: HeaderText = ""


class HeaderValueOption(Message):
    header: HeaderValue
    append_action: str = "APPEND_IF_EXISTS_OR_ADD"
    keep_empty_value: bool = False

    def __post_init__(self) -> None:
        actions = (
            "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS",
        )  # fmt: skip
        if self.append_action not in actions:
            raise ValueError(f"unknown append_action {self.append_action!r}")


class DataSource(Message):
    filename: str | None = None
    inline_string: str | None = None
    inline_bytes: bytes | None = None

    def __post_init__(self) -> None:
        require_one(self, "filename", "inline_string", "inline_bytes")

    def read(self) -> bytes:
        """The content; a file that cannot be read raises OSError."""
        if self.inline_string is not None:
            return self.inline_string.encode()
        if self.inline_bytes is not None:
            return self.inline_bytes
        assert self.filename is not None
        with open(self.filename, "rb") as file:  # noqa: PTH123 - pathlib costs the sidecar memory for one call
            return file.read()


class Metadata(Message):
    """Free-form, by the name of the filter it is for."""

    filter_metadata: dict[str, dict[str, Any]] = {}


class ApiConfigSource(Message):
    api_type: str
    cluster_names: list[str] = []
    transport_api_version: str = "V3"
    request_timeout: Duration | None = None
    refresh_delay: Duration | None = None


class Ads(Message):
    pass


class ConfigSource(Message):
    """Where a resource comes from. There is one source here, so the value is only checked to be well formed."""

    api_config_source: ApiConfigSource | None = None
    ads: Ads | None = None
    resource_api_version: str = "V3"
    initial_fetch_timeout: Duration | None = None


class SocketAddress(Message):
    address: str
    port_value: Port = 0
    protocol: Literal["TCP"] = "TCP"


class Pipe(Message):
    path: str


class Address(Message):
    socket_address: SocketAddress | None = None
    pipe: Pipe | None = None

    def __post_init__(self) -> None:
        require_one(self, "socket_address", "pipe")


class CidrRange(Message):
    address_prefix: str
    prefix_len: UInt32 = 0

    def __post_init__(self) -> None:
        ip_network(f"{self.address_prefix}/{self.prefix_len}", strict=False)


def require_one(message: Message, *names: str) -> None:
    """A protobuf oneof: raises ValueError unless exactly one of the fields is set."""
    given = [name for name in names if getattr(message, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise ValueError(f"want exactly one of {', '.join(names)}; got {found}")
