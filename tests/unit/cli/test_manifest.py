"""What cannot be read is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.manifest import BadManifest, read


def test_documents_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("kind: A\n---\nkind: List\nitems: [{kind: B}, {kind: C}]\n---\n")
    documents = list(read((str(file),)))
    assert [(d.where, d.object["kind"]) for d in documents] == [
        (f"{file} (document 1)", "A"),
        (f"{file} (document 2)", "B"),
        (f"{file} (document 2)", "C"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, ": No such file or directory"),
        (b"\xff\xfe\x00", ": 'utf-8' codec can't decode"),
        (b"a: [", ": error parsing YAML: "),
        (b"- a", ": a manifest is a mapping, this is a list"),
    ],
)
def test_bad_files(tmp_path: Path, text: bytes | None, told: str) -> None:
    file = tmp_path / "a.yaml"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(BadManifest) as refused:
        list(read((str(file),)))
    assert str(refused.value).startswith(f"{file}{told}")
