"""`glassmesh analyze` over manifests: where each field is written, what replaces what, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.analysis_input import Input, read_manifests, with_manifests
from cli.main import main
from cli.manifest import BadManifest

RULES = """\
# a comment
apiVersion: v1
kind: List
items:
- apiVersion: networking.istio.io/v1
  kind: VirtualService
  metadata: {name: a}
  spec:
    hosts: [web]
    http:
    - headers:
        request:
          set:
            x.y: b
            x: c
      route:
      - destination: {host: web}
    - route: [{destination: {host: web}}]
---
{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "r", "namespace": "other"},
 "spec": {"host": "web"}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


@pytest.mark.parametrize(
    ("key", "path", "line"),
    [
        (("VirtualService", "default", "a"), "", 5),
        (("VirtualService", "default", "a"), "spec.hosts[0]", 9),
        (("VirtualService", "default", "a"), "spec.http[0].headers.request.set.x.y", 14),
        (("VirtualService", "default", "a"), "spec.http[0].headers.request.set.x", 15),
        (("VirtualService", "default", "a"), "spec.http[0].route[0].destination.host", 17),
        (("VirtualService", "default", "a"), "spec.http[1]", 18),
        (("VirtualService", "default", "a"), "spec.http[7].route", 11),
        (("VirtualService", "default", "a"), "spec.gateways", 9),
        (("DestinationRule", "other", "r"), "spec.host", 21),
    ],
)
def test_lines(rules: Path, key: tuple[str, str, str], path: str, line: int) -> None:
    found = read_manifests([str(rules)], "default", False)
    assert found.places[key].reference(path) == f"{rules}:{line}"


def test_directories(rules: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "more.json").write_text('{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}')
    (inner / "notes.txt").write_text("not a manifest")
    assert len(read_manifests([str(tmp_path)], "default", False).places) == 2
    assert ("Namespace", "", "n") in read_manifests([str(tmp_path)], "default", True).places


def test_a_manifest_stands_for_what_it_changes(rules: Path) -> None:
    old = {
        "kind": "DestinationRule",
        "metadata": {"name": "r", "namespace": "other", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"host": "old"},
    }
    resource = "destinationrules.networking.istio.io"
    found = with_manifests(Input({resource: [old]}), read_manifests([str(rules)], "default", False))
    (new,) = found.objects[resource]
    assert (new["spec"], new["metadata"]["creationTimestamp"]) == ({"host": "web"}, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("text", "why"),
    [("a: [", "error parsing YAML"), ("{kind: Service, apiVersion: v1}", "metadata.name: Required value")],
)
def test_what_is_no_manifest(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(BadManifest, match=why):
        read_manifests([str(tmp_path / "bad.yaml")], "default", False)
    with pytest.raises(BadManifest, match="No such file"):
        read_manifests([str(tmp_path / "none.yaml")], "default", False)


def _analyze(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["analyze", "--use-kube=false", *arguments], input=stdin)


CONFLICT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec: {hosts: [x.org], http: [{route: [{destination: {host: web}}]}, {route: [{destination: {host: web}}]}]}
"""


def test_output_and_exit_codes(tmp_path: Path) -> None:
    result = _analyze("-", stdin=CONFLICT)
    line = "(VirtualService default/a stdin:5) VirtualService rule #1 not used (only the last rule can have no matches)."
    assert (result.exit_code, result.output) == (0, f"Warning [IST0130] {line}\n")
    assert _analyze("-", "--failure-threshold", "warning", stdin=CONFLICT).exit_code == 79
    assert _analyze("-", "-n", "other", stdin=CONFLICT).output.startswith(
        "Warning [IST0130] (VirtualService other/a"
    )
    (said,) = json.loads(_analyze("-", "-o", "json", stdin=CONFLICT).output)
    assert (said["code"], said["path"], said["reference"]) == ("IST0130", "spec.http[1]", "stdin:5")
    quiet = _analyze("-f", "-", "-S", "IST0130=VirtualService a.default", stdin=CONFLICT)
    assert quiet.output == "✔ No validation issues found when analyzing namespace: default.\n"
    assert _analyze("-A", "-f", "-", "-S", "IST0130=*", stdin=CONFLICT).output == (
        "✔ No validation issues found when analyzing all namespaces.\n"
    )


def test_what_the_api_would_refuse_is_told_with_its_line() -> None:
    result = _analyze("-", stdin=CONFLICT.replace("[x.org]", "['*', a b]"))
    assert result.exit_code == 79
    assert (
        'default/a stdin:5) Schema validation error: spec.hosts[1]: domain name "a b" invalid'
        in result.output
    )
    assert "IST0130" not in result.output  # what is not valid is not looked at further
