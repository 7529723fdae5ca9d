"""What `glassmesh up` refuses before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from cli.up import gateway


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


@pytest.mark.parametrize(
    ("port", "asked", "told"),
    [
        (8080, None, "http://127.0.0.1:8080"),
        (40123, None, "http://127.0.0.1:40123 (8080 is taken)"),
        (40123, 0, "http://127.0.0.1:40123"),
        (9000, 9000, "http://127.0.0.1:9000"),
    ],
)
def test_the_gateway_is_not_where_one_looks_for_it(port: int, asked: int | None, told: str) -> None:
    assert gateway(port, asked) == told
