"""`glassmesh apply, get, describe, delete`: what kubectl does, without kubectl; the output is compared where it is there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.main import main

MANIFEST = """
apiVersion: v1
kind: Service
metadata: {name: shop, labels: {app: shop}}
spec: {selector: {app: shop}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop], http: [{route: [{destination: {host: shop, subset: "1"}}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: texts}
data: {number: "1", flag: "true", empty: "", lines: "a\\nb\\n", star: "*", time: "2026-01-01T00:00:00Z"}
"""
BAD = (
    MANIFEST
    + """
---
apiVersion: v1
kind: Service
metadata: {name: bad}
spec: {ports: [{port: 0}], colour: red}
"""
)
Glassmesh = Callable[..., Result]


@pytest.fixture
def glassmesh(api_state: Path) -> Glassmesh:
    """Runs `glassmesh ARGUMENTS` in this process."""

    def run(*arguments: str, stdin: str | None = None, code: int = 0) -> Result:
        result = CliRunner().invoke(
            main, [*arguments, "--kubeconfig", str(api_state / "kubeconfig")], input=stdin
        )
        assert result.exit_code == code, f"{arguments}: {result.output}"
        return result

    return run


@pytest.fixture
def space(glassmesh: Glassmesh) -> str:
    name = f"cli-{time.time_ns()}"
    glassmesh("apply", "-f", "-", stdin=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}")
    return name


def test_nothing_to_apply(glassmesh: Glassmesh) -> None:
    assert glassmesh("apply", "-f", "/dev/null", code=1).stderr == "Error: no objects passed to apply\n"


def test_apply_says_what_changed(glassmesh: Glassmesh, space: str) -> None:
    n = ("-n", space)
    names = ["service/shop", "virtualservice.networking.istio.io/shop", "configmap/texts"]
    for text, words in ((MANIFEST, ["created"] * 3), (MANIFEST, ["unchanged"] * 3),
                        (MANIFEST.replace("port: 80", "port: 81"), ["configured", "unchanged", "unchanged"])):  # fmt: skip
        lines = glassmesh("apply", *n, "-f", "-", stdin=text).stdout.splitlines()
        assert lines == [f"{name} {word}" for name, word in zip(names, words, strict=True)]


def test_apply_of_a_directory_and_removed_fields(glassmesh: Glassmesh, space: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(MANIFEST)
    (tmp_path / "b.json").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}],
            }
        )
    )
    (tmp_path / "notes.txt").write_text("not a manifest")
    assert glassmesh("apply", "-n", space, "-f", str(tmp_path)).stdout.count("created") == 4
    (tmp_path / "a.yaml").write_text(MANIFEST.replace('number: "1", ', ""))
    glassmesh("apply", "-n", space, "-f", str(tmp_path))
    shown = yaml.safe_load(glassmesh("get", "cm", "texts", "-n", space, "-o", "yaml").stdout)
    assert "number" not in shown["data"]


def test_a_bad_document_is_refused_and_named(glassmesh: Glassmesh, space: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(BAD)
    result = glassmesh("apply", "-n", space, "-f", str(file), code=1)
    assert result.stdout.count("created") == 3
    refusal = [line for line in result.stderr.splitlines() if "[IST0101]" not in line]
    assert refusal[:2] == [f"{file} (document 4):", 'The Service "bad" is invalid:']
    assert "* spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive" in result.stderr
    assert '* spec.colour: unknown field "spec.colour"' in result.stderr
    assert "shop" not in glassmesh("get", "svc", "bad", "-n", space, code=1).stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "STDIN: error parsing YAML"),
        ("- 1", "a manifest is a mapping, this is a list"),
        ("{apiVersion: x/v1, kind: Y, metadata: {name: a}}", 'no matches for kind "Y" in version "x/v1"'),
        ("{apiVersion: v1, kind: Service}", "metadata.name: Required value"),
    ],
)
def test_what_is_no_manifest(glassmesh: Glassmesh, text: str, said: str) -> None:
    assert said in glassmesh("apply", "-f", "-", stdin=text, code=1).output


def test_dry_run(glassmesh: Glassmesh, space: str) -> None:
    assert (
        "(server dry run)"
        in glassmesh("apply", "-n", space, "--dry-run", "server", "-f", "-", stdin=MANIFEST).stdout
    )
    assert "No resources found" in glassmesh("get", "vs", "-n", space).stderr


@pytest.mark.parametrize(
    "arguments",
    ["get svc", "get vs,svc", "get all", "get svc shop -o wide", "get svc/shop vs/shop", "get cm texts -o yaml", "get svc,cm -o yaml",
     "get vs -o json", "get all -o name", "get svc -l app=shop", "get svc -l app!=shop", "get ns default", "get cm --no-headers"],
)  # fmt: skip
def test_get_prints_what_kubectl_prints(
    glassmesh: Glassmesh, space: str, kubectl: object, arguments: str
) -> None:
    glassmesh("apply", "-n", space, "-f", "-", stdin=MANIFEST)
    words = [*arguments.split(), "-n", space]
    ours = glassmesh(*words)
    theirs = kubectl.run(*words)  # type: ignore[attr-defined]
    assert _without_ages(ours.stdout) == _without_ages(theirs.stdout)
    assert ours.stderr == theirs.stderr


def _without_ages(text: str) -> str:
    return " ".join(
        "AGE" if word.rstrip("s").isdigit() and word.endswith("s") else word for word in text.split()
    )


def test_get_everywhere_and_what_is_not_there(glassmesh: Glassmesh, space: str) -> None:
    glassmesh("apply", "-n", space, "-f", "-", stdin=MANIFEST)
    assert any(
        line.split()[:2] == [space, "shop"] for line in glassmesh("get", "svc", "-A").stdout.splitlines()
    )
    assert 'services "none" not found' in glassmesh("get", "svc", "none", "-n", space, code=1).stderr
    assert "doesn't have a resource type" in glassmesh("get", "things", code=1).output
    assert "You must specify the type" in glassmesh("get", code=2).output


def test_describe(glassmesh: Glassmesh, space: str) -> None:
    glassmesh("apply", "-n", space, "-f", "-", stdin=MANIFEST)
    text = glassmesh("describe", "vs", "shop", "-n", space).stdout
    for line in (
        "Name:         shop",
        f"Namespace:    {space}",
        "Kind:         VirtualService",
        "  Creation Timestamp:",
        "Events:  <none>",
    ):
        assert line in text
    assert "managedFields" not in text


def test_watch(glassmesh: Glassmesh, space: str, api_state: Path) -> None:
    command = [sys.executable, "-c", "from cli.main import main; main()", "get", "cm", "-w", "-n", space]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    glassmesh("apply", "-n", space, "-f", "-", stdin=MANIFEST)
    watching = subprocess.Popen(
        [*command, "--kubeconfig", str(api_state / "kubeconfig")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert watching.stdout is not None
    try:
        assert watching.stdout.readline().split() == ["NAME", "DATA", "AGE"]
        assert watching.stdout.readline().split()[:2] == ["texts", "6"]
        glassmesh("apply", "-n", space, "-f", "-", stdin=MANIFEST.replace('number: "1", ', ""))
        assert watching.stdout.readline().split()[:2] == ["texts", "5"]
    finally:
        watching.terminate()
        watching.communicate()


def test_delete(glassmesh: Glassmesh, space: str) -> None:
    glassmesh("apply", "-n", space, "-f", "-", stdin=MANIFEST)
    assert glassmesh("delete", "svc", "shop", "-n", space).stdout == 'service "shop" deleted\n'
    result = glassmesh("delete", "-f", "-", "-n", space, stdin=MANIFEST, code=1)
    assert result.stdout.splitlines() == [
        'virtualservice.networking.istio.io "shop" deleted',
        'configmap "texts" deleted',
    ]
    assert 'services "shop" not found' in result.stderr
    glassmesh("delete", "-f", "-", "-n", space, "--ignore-not-found", stdin=MANIFEST)
    assert "name the objects" in glassmesh("delete", "svc", "-n", space, code=2).output
    glassmesh("apply", "-n", space, "-f", "-", stdin=MANIFEST)
    assert glassmesh("delete", "svc", "-l", "app=shop", "-n", space).stdout == 'service "shop" deleted\n'
    glassmesh("delete", "ns", space)
    assert "not found" in glassmesh("get", "ns", space, code=1).stderr


def test_no_mesh_here(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["get", "pods", "--kubeconfig", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "Start one with `glassmesh up`" in result.output


def test_without_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    result = CliRunner().invoke(main, ["kubectl", "get", "pods", "-A"])
    assert "`glassmesh get pods -A` does the same" in result.output
    assert "install kubectl" in CliRunner().invoke(main, ["kubectl", "rollout", "status"]).output
