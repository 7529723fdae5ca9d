"""The mesh of an ordinary user: the same code in a user namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.mesh import Mesh

pytestmark = pytest.mark.netns

PROJECT = Path(__file__).resolve().parents[2]
AS_USER = Path(__file__).with_name("as_user.py")
UID = 47110
CALL = "import urllib.request as u; print(u.urlopen('http://echo:8080/', timeout=5).status)"


class UserMesh(Mesh):
    """A mesh all of whose commands are the ordinary user's."""

    with_sub_ids = "yes"

    def command(self, *arguments: str) -> list[str]:
        trees = {sys.prefix, sys.base_prefix, str(PROJECT), str(self.state.parent)}
        return [
            sys.executable,
            str(AS_USER),
            self.with_sub_ids,
            str(self.state.parent),
            *sorted(trees),
            "--",
            *super().command(*arguments),
        ]


@pytest.fixture
def user_mesh(tmp_path: Path) -> Iterator[UserMesh]:
    if shutil.which("newuidmap") is None:
        pytest.skip("needs newuidmap (package uidmap)")
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    mesh = UserMesh(home / "m")
    yield mesh
    mesh.glassmesh("down")
    if mesh.looked_at:
        mesh.assert_nothing_left()


def test_an_ordinary_user_has_the_same_mesh(user_mesh: UserMesh) -> None:
    user_mesh.up(
        "-f",
        str(PROJECT / "demo_apps/manifests/curl.yaml"),
        "-f",
        str(PROJECT / "demo_apps/manifests/echo.yaml"),
    )
    status = Path(f"/proc/{user_mesh.pid}/status").read_text()
    assert f"Uid:\t{UID}\t{UID}\t{UID}\t{UID}" in status
    assert user_mesh.exec("curl", "id", "-u") == "1000\n"
    assert user_mesh.exec("curl", "id", "-u", root=True) == "0\n"
    assert user_mesh.exec("curl", "python3", "-c", CALL) == "200\n"
    rules = user_mesh.exec("curl", "iptables-save", "-t", "nat", "-c", root=True)
    captured = next(line for line in rules.splitlines() if line.endswith("REDIRECT --to-ports 15001"))
    assert not captured.startswith("[0:0]")
    assert "are gone" in user_mesh.down()


def test_without_subordinate_ids_one_line_points_to_compose(user_mesh: UserMesh) -> None:
    user_mesh.with_sub_ids = "no"
    done = subprocess.run(user_mesh.command("up", "--detach"), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "no range of 65535 ids" in done.stderr
    assert "docker compose up" in done.stderr
