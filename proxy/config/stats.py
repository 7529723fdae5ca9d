"""`stats_config` of a bootstrap: which stats there are. How they are tagged is Envoy's default, and nothing else.

Reference: envoy.config.metrics.v3.StatsConfig and StatsMatcher.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.regex import compile_regex
from proxy.config.values import Message, StringMatcher, require_one


class ListStringMatcher(Message):
    patterns: Annotated[list[StringMatcher], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        for pattern in self.patterns:
            if pattern.safe_regex is not None:
                compile_regex(pattern.safe_regex.regex)


class StatsMatcher(Message):
    """Names of stats: none of them with `reject_all`, all but the excluded, or the included alone."""

    reject_all: bool | None = None
    exclusion_list: ListStringMatcher | None = None
    inclusion_list: ListStringMatcher | None = None

    def __post_init__(self) -> None:
        require_one(self, "reject_all", "exclusion_list", "inclusion_list")


class StatsConfig(Message):
    stats_matcher: StatsMatcher | None = None
    use_all_default_tags: Literal[True] = True
