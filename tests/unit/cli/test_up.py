"""What `glassmesh up` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "mesh.yaml: No such file or directory"),
        ("a: [", "mesh.yaml: while parsing"),
        (
            "pathNormalization: {normalization: ALL}",
            "mesh.yaml: pathNormalization.normalization: Input should be",
        ),
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_a_bad_mesh_config_is_told_at_once(
    content: str | None, why: str, by_environment: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("mesh.yaml").write_text(content)
    if by_environment:
        monkeypatch.setenv("GLASSMESH_MESH_CONFIG", "mesh.yaml")
    told = CliRunner().invoke(main, ["up", *([] if by_environment else ["--mesh-config", "mesh.yaml"])])
    assert told.exit_code == 1
    assert f"Error: {why}" in told.output
    assert not Path(".glassmesh").exists()
