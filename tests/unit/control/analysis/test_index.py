"""Objects by their words, read again only where something changed."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from control.analysis.index import Index

LOOKS = st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=6)
OBJECTS: list[dict[str, Any]] = [{"words": [f"w{n % 3}", f"w{n % 4}"]} for n in range(8)]


@given(LOOKS)
def test_an_index_is_as_one_made_anew(looks: list[set[int]]) -> None:
    index = Index(lambda obj: obj["words"])
    for look in looks:
        chosen = [OBJECTS[n] for n in look]
        found = index.of(chosen)
        anew = Index(lambda obj: obj["words"]).of(chosen)
        assert {word: sorted(map(id, objs)) for word, objs in found.items()} == {
            word: sorted(map(id, objs)) for word, objs in anew.items()
        }


def test_only_what_changed_is_read() -> None:
    read: list[int] = []
    index = Index(lambda obj: read.append(id(obj)) or obj["words"])  # type: ignore[func-returns-value]
    index.of(OBJECTS[:5])
    index.of(OBJECTS[1:6])
    assert sorted(read) == sorted(map(id, OBJECTS[:6]))
