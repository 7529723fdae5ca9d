"""The demo's mesh as commands: what is run, how failures read, what is cleaned up. A small script stands in for `glassmesh`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cli import demo_mesh
from cli.demo_mesh import DemoFailed, RunningMesh

PRINTS = [sys.executable, "-c", "import sys; print(*sys.argv[1:])"]
FAILS = [sys.executable, "-c", "import sys; print('why', file=sys.stderr); sys.exit(3)"]


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningMesh:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo_mesh, "OUR_COMMAND", PRINTS)
    return RunningMesh(Path(".glassmesh/demo"))


def test_commands_in_a_pod(mesh: RunningMesh) -> None:
    assert mesh.run("details-v1", ["id", "-u"]) == "exec --state .glassmesh/demo details-v1 -- id -u\n"
    assert "--root" in mesh.run("details-v1", ["id"], root=True)
    with mesh.start("details-v1", ["capture"]) as output:
        assert output.readline() == "exec --state .glassmesh/demo --root details-v1 -- capture\n"


def test_a_command_that_fails_says_why(mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_mesh, "OUR_COMMAND", FAILS)
    with pytest.raises(OSError, match="id in details-v1: why"):
        mesh.run("details-v1", ["id"])
    with pytest.raises(DemoFailed, match="why"):
        mesh.up(["bookinfo.yaml"], None)


@pytest.mark.parametrize(
    ("found", "said"), [("/bin/true", "kubectl apply -f a.yaml"), (None, "glassmesh apply -f a.yaml")]
)
def test_routes_are_applied_with_kubectl_where_there_is_one(
    mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch, found: str | None, said: str
) -> None:
    monkeypatch.setattr(
        demo_mesh.shutil, "which", lambda name: found if name == "kubectl" else "/bin/glassmesh"
    )
    assert mesh.apply(["a.yaml"]) == said


def test_a_refused_route_is_an_error(mesh: RunningMesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_mesh.shutil, "which", lambda _: "/bin/false")
    with pytest.raises(OSError, match="apply ended with status 1"):
        mesh.apply(["a.yaml"])


def test_the_state_goes_unless_its_logs_are_wanted(mesh: RunningMesh, tmp_path: Path) -> None:
    (mesh.state / "logs").mkdir(parents=True)
    mesh.end(keep_logs=True)
    assert (mesh.state / "logs").exists()
    mesh.end(keep_logs=False)
    assert list(tmp_path.iterdir()) == []


def test_a_mesh_the_user_keeps_stays(mesh: RunningMesh, tmp_path: Path) -> None:
    kept = tmp_path / ".glassmesh" / "kubeconfig"
    mesh.state.mkdir(parents=True)
    kept.touch()
    mesh.end(keep_logs=False)
    assert kept.exists()
    assert not mesh.state.exists()


def test_manifests_are_named_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    project = Path(__file__).parents[3]
    monkeypatch.chdir(project)
    assert demo_mesh.manifest("bookinfo.yaml") == Path("demo_apps/manifests/bookinfo.yaml")
    monkeypatch.chdir(tmp_path)
    assert demo_mesh.manifest("bookinfo.yaml").is_absolute()


def test_our_command_is_named_so_that_it_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        demo_mesh.our_name() in ("glassmesh", ".venv/bin/glassmesh")
        or Path(demo_mesh.our_name()).is_absolute()
    )
    monkeypatch.setattr(demo_mesh.shutil, "which", lambda _: "/usr/bin/glassmesh")
    assert demo_mesh.our_name() == "glassmesh"
