"""How one header of a request is matched: routes, faults and rate limits use the same message.

Reference: envoy.config.route.v3.HeaderMatcher.
"""

from __future__ import annotations

from proxy.config.values import Int64Range, Message, NonEmpty, RegexMatcher, StringMatcher


class HeaderMatcher(Message):
    """Without a pattern it matches when the header is present."""

    name: NonEmpty
    exact_match: str | None = None
    prefix_match: NonEmpty | None = None
    suffix_match: NonEmpty | None = None
    contains_match: NonEmpty | None = None
    safe_regex_match: RegexMatcher | None = None
    range_match: Int64Range | None = None
    present_match: bool | None = None
    string_match: StringMatcher | None = None
    invert_match: bool = False
    treat_missing_header_as_empty: bool = False
