"""Starting and ending meshes: in order, by Ctrl-C, after kill -9, twice, two at once. Nothing is left on the host."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.mesh import Mesh, deployment, processes

pytestmark = pytest.mark.netns


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Mesh]:
    """A mesh not yet started; whatever a test does with it, it is ended and looked for."""
    mesh = Mesh(tmp_path / "m")
    yield mesh
    mesh.glassmesh("down")
    mesh.assert_nothing_left()


def foreground(mesh: Mesh) -> subprocess.Popen[str]:
    """`glassmesh up` in a session of its own, as a terminal has it, once it says the mesh is ready."""
    command = mesh.command("up", "--gateway-port", "0")
    up = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert up.stdout is not None
    for line in up.stdout:
        if "Ctrl-C ends the mesh" in line:
            break
    mesh.remember()
    return up


def finish(up: subprocess.Popen[str]) -> str:
    assert up.stdout is not None
    with up.stdout:
        rest = up.stdout.read()
    up.wait(30)
    return rest


def test_ctrl_c_ends_everything(fresh: Mesh) -> None:
    up = foreground(fresh)
    os.killpg(up.pid, signal.SIGINT)
    finish(up)
    assert up.returncode == 0
    fresh.assert_nothing_left()
    assert "no mesh runs" in fresh.glassmesh("down")


def test_a_mesh_that_is_killed_is_noticed_and_cleaned_up(fresh: Mesh) -> None:
    """kill -9 of pid 1: the kernel ends the rest, `up` says so, `down` removes what is written down."""
    up = foreground(fresh)
    os.kill(fresh.pid, signal.SIGKILL)
    assert "ended by itself" in finish(up)
    assert up.returncode == 1
    fresh.assert_nothing_left()
    assert "no mesh runs" in fresh.glassmesh("down")


def test_down_after_everything_was_killed(fresh: Mesh) -> None:
    """kill -9 of the command and of pid 1."""
    up = foreground(fresh)
    up.kill()
    finish(up)
    assert "istio-ingressgateway" in fresh.glassmesh(
        "status"
    )  # the mesh outlives the command that started it
    os.kill(fresh.pid, signal.SIGKILL)
    assert "had already ended" in fresh.glassmesh("down")
    assert "no mesh runs" in fresh.glassmesh("down")


def test_down_ends_a_mesh_whose_command_was_killed(fresh: Mesh) -> None:
    up = foreground(fresh)
    up.kill()
    finish(up)
    assert "are gone" in fresh.glassmesh("down")


def test_a_state_directory_that_is_removed_ends_its_mesh(fresh: Mesh) -> None:
    fresh.up()
    pid = fresh.pid
    subprocess.run(["rm", "-rf", str(fresh.state)], check=True)
    deadline = time.monotonic() + 30
    while any(found == pid for found, _ in processes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_meshes_and_what_is_kept(fresh: Mesh, mesh: Mesh) -> None:
    """Beside the mesh of the other tests; ended and started again, it has what was applied, on the same API port."""
    fresh.up("--back-off", "0.3")
    fresh.apply(deployment("kept", ["sleep", "infinity"], namespace="default"))
    (before,) = fresh.ready("kept", namespace="default")
    assert not mesh.pods("kept", "default")
    assert not fresh.networks.keys() & mesh.networks.keys()
    assert "already runs" in fresh.glassmesh("up", "--detach", check=False)
    server = (fresh.state / "kubeconfig").read_text().partition("server: ")[2].split()[0]
    fresh.down()
    fresh.assert_nothing_left()
    fresh.up()
    (after,) = fresh.ready("kept", namespace="default")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert (fresh.state / "kubeconfig").read_text().partition("server: ")[2].split()[0] == server
    assert "istio-proxy" in [container["name"] for container in after["spec"]["containers"]]


def test_a_port_that_is_taken(fresh: Mesh, mesh: Mesh) -> None:
    told = fresh.glassmesh("up", "--detach", "--gateway-port", str(mesh.gateway_port), check=False)
    assert f"cannot listen on 127.0.0.1:{mesh.gateway_port}" in told
    fresh.looked_at = True  # it never was


def test_a_bad_manifest_is_refused_whole(fresh: Mesh, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {ports: [{port: 0}], nosuch: 1}\n"
    )
    told = fresh.glassmesh("up", "--detach", "--gateway-port", "0", "-f", str(bad), check=False)
    assert "bad.yaml" in told
    assert "nosuch" in told
    fresh.looked_at = True
    bad.write_text("a: [")
    assert "error parsing YAML" in fresh.glassmesh("up", "--detach", "-f", str(bad), check=False)
