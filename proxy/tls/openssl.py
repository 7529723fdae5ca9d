"""OpenSSL as the `cryptography` package brings it: the functions, and the errors they leave.

Why not Python's `ssl`: see docs/adr/0008. The package's Python half is not imported, which would cost 4 MB more.
Decides nothing. Reference: OpenSSL's manual pages, section 3.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.bindings._rust import _openssl

lib: Final[Any] = _openssl.lib
ffi: Final[Any] = _openssl.ffi
_ALERTS: Final = (("TLS_ALERT_", "SSLV3_ALERT_"), ("TLSV13_ALERT_", "TLSV1_ALERT_"))


class TlsError(OSError):
    """OpenSSL refused. `reason` is its name for why, `CERTIFICATE_VERIFY_FAILED`; None where it gave none."""

    def __init__(self, reason: str | None, detail: str = "") -> None:
        super().__init__(f"{reason or 'TLS error'}: {detail}" if detail else reason or "TLS error")
        self.reason = reason
        self.detail = detail


def reason() -> str | None:
    """Why the last call failed, as `KEY_VALUES_MISMATCH`; asks once, and forgets all errors of this thread.

    Of several it is the first that TLS itself left: those of the cipher come before it, and those of who called it after.
    Alerts have the names that they have in BoringSSL, and had in OpenSSL before its third version.
    """
    codes = []
    while code := lib.ERR_get_error():
        codes.append(code)
    if not codes:
        return None
    chosen = next(
        (code for code in codes if text(lib.ERR_lib_error_string(code)) == "SSL routines"), codes[0]
    )
    name = text(lib.ERR_reason_error_string(chosen)).upper().replace(" ", "_")
    for ours, theirs in _ALERTS:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name or None


def text(string: Any) -> str:
    """What a `char *` points to; `` for NULL."""
    return "" if string == ffi.NULL else str(ffi.string(string).decode())


def must(done: int) -> None:
    """Raise TlsError where a call did not return 1."""
    if done != 1:
        raise TlsError(reason())
