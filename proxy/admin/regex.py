"""Regular expressions of admin queries: RE2, as Envoy's, so that no pattern can hang the sidecar.

Imported when a page is asked with a pattern: most sidecars never are, and RE2 takes 2.5 MB.
"""

from __future__ import annotations

import re


class RegexError(ValueError):
    """The pattern is not RE2; the text is RE2's."""


def compile_regex(pattern: str) -> re.Pattern[str]:
    """A compiled pattern with the interface of `re`."""
    import re2

    options = re2.Options()
    options.log_errors = False  # the caller is told
    try:
        compiled: re.Pattern[str] = re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0] if error.args else error
        raise RegexError(text.decode() if isinstance(text, bytes) else str(text)) from error
    return compiled
