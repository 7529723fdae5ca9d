"""What a user sees of bad input: kubectl's refusals and warnings, and `glassmesh analyze`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.main import main

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: NS}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
"""
INVALID = """
apiVersion: networking.istio.io/VERSION
kind: VirtualService
metadata: {name: invalid, namespace: NS}
spec:
  hosts: ["*"]
  http:
  - route: [{destination: {host: reviews}, weight: -1}]
    timeout: 1us
    retries: {attempts: 1, retryOn: "5xx,all"}
    match: [{uri: {regex: "("}}]
"""
REFUSAL = """The VirtualService "invalid" is invalid:\x20
* spec.hosts[0]: wildcard host * is not allowed for virtual services bound to the mesh gateway
* spec.http[0].match[0].uri.regex: "uri": error parsing regexp: missing closing ): `(`; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)
* spec.http[0].retries.retryOn: "all" is not a valid retryOn policy
* spec.http[0].route[0].weight: weight -1 < 0
* spec.http[0].timeout: duration must be greater than 1ms
"""
CONFLICT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: first, namespace: NS}
spec:
  hosts: [reviews]
  http:
  - fault: {abort: {httpStatus: 500, percentage: {value: 1}}}
    retries: {attempts: 1}
    route: [{destination: {host: reviews, subset: v9}}]
  - name: late
    match: [{uri: {prefix: /a}}]
    route: [{destination: {host: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: second, namespace: NS}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews}}]}]}
"""
BOTH = (
    "[IST0109] spec.hosts[0]: The VirtualServices NS/first,NS/second associated with mesh gateway define the same host "
    "reviews.NS.svc.cluster.local which can lead to undefined behavior. This can be fixed by merging the conflicting "
    "VirtualServices into a single resource."
)
WARNINGS = [
    "spec.http[0].fault: retries of the rule will not be enabled for faults injected on the client side",
    '[IST0130] spec.http[1]: VirtualService rule "late" not used (only the last rule can have no matches).',
    '[IST0101] spec.http[0].route[0].destination.subset: Referenced host+subset in destinationrule not found: "reviews+v9"',
    BOTH,
]
Glassmesh = Callable[..., Result]


@pytest.fixture
def glassmesh(api_state: Path) -> Glassmesh:
    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--kubeconfig", str(api_state / "kubeconfig")])
        assert result.exit_code == code, f"{arguments}: {result.output}"
        return result

    return run


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha3"])
@pytest.mark.parametrize("mode", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_kubectl_tells_every_error(kubectl: Any, version: str, mode: list[str]) -> None:
    manifest = INVALID.replace("VERSION", version).replace("NS", "default")
    assert kubectl.fails("apply", *mode, "-f", "-", stdin=manifest) == REFUSAL


@pytest.mark.parametrize("mode", [[], ["--server-side"]], ids=["client-side", "server-side"])
def test_kubectl_shows_conflicts_as_warnings(kubectl: Any, namespace: str, mode: list[str]) -> None:
    manifest = f"{SERVICE}---{CONFLICT}".replace("NS", namespace)
    done = kubectl.run("apply", *mode, "-f", "-", stdin=manifest)
    word = "serverside-applied" if mode else "created"
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"service/reviews {word}",
        f"virtualservice.networking.istio.io/first {word}",
        f"virtualservice.networking.istio.io/second {word}",
    ]
    expected = [f"Warning: {line}".replace("NS", namespace) for line in WARNINGS]
    assert done.stderr.splitlines() == expected


@pytest.fixture
def manifest(tmp_path: Path, namespace: str) -> Path:
    file = tmp_path / "conflict.yaml"
    file.write_text(f"{SERVICE}---{CONFLICT}".replace("NS", namespace))
    return file


def test_analyze_files_and_mesh(glassmesh: Glassmesh, manifest: Path, namespace: str) -> None:
    assert glassmesh("analyze", "-n", namespace, "--suppress", f"IST0102=Namespace {namespace}").output == (
        f"✔ No validation issues found when analyzing namespace: {namespace}.\n"
    )
    result = glassmesh("analyze", "-n", namespace, str(manifest), code=79)
    both = BOTH.partition(": ")[2].replace("NS", namespace)
    first, second = f"VirtualService {namespace}/first", f"VirtualService {namespace}/second"
    assert result.stdout.splitlines() == [
        f'Error [IST0101] ({first} {manifest}:15) Referenced host+subset in destinationrule not found: "reviews+v9"',
        f"Error [IST0109] ({first} {manifest}:11) {both}",
        f"Error [IST0109] ({second} {manifest}:23) {both}",
        f'Warning [IST0130] ({first} {manifest}:16) VirtualService rule "late" not used (only the last rule can have no matches).',
        f"Warning [IST0133] ({first} {manifest}:13) Schema validation warning: {WARNINGS[0]}",
        result.stdout.splitlines()[-1],
    ]
    assert result.stdout.splitlines()[-1].startswith(
        f"Info [IST0102] (Namespace {namespace}) The namespace is not"
    )
    assert (
        result.stderr.splitlines()[0]
        == f"Error: Analyzers found issues when analyzing namespace: {namespace}."
    )


def test_analyze_what_is_in_the_mesh(
    kubectl: Any, glassmesh: Glassmesh, manifest: Path, namespace: str
) -> None:
    kubectl("apply", "-f", str(manifest))
    result = glassmesh("analyze", "-n", namespace, "-o", "json", code=79)
    found: list[dict[str, Any]] = json.loads(result.stdout)
    assert [(each["code"], each["origin"].rpartition("/")[2]) for each in found][:3] == [
        ("IST0101", "first"),
        ("IST0109", "first"),
        ("IST0109", "second"),
    ]
    assert found[0] == {
        "code": "IST0101",
        "level": "Error",
        "message": 'Referenced host+subset in destinationrule not found: "reviews+v9"',
        "origin": f"VirtualService {namespace}/first",
        "path": "spec.http[0].route[0].destination.subset",
        "documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0101/",
    }
    shown = glassmesh("analyze", "-n", namespace, "-o", "yaml", code=79)
    assert yaml.safe_load(shown.stdout) == found
    # Another namespace is told of with -A alone.
    assert "first" not in glassmesh("analyze").output
    assert f"VirtualService {namespace}/first" in glassmesh("analyze", "-A", code=79).output


def test_analyze_thresholds(glassmesh: Glassmesh, manifest: Path, namespace: str) -> None:
    errors = [f"--suppress={code}=VirtualService *" for code in ("IST0101", "IST0109")]
    arguments = ["analyze", "-n", namespace, str(manifest), *errors]
    assert "Warning [IST0130]" in glassmesh(*arguments).output
    glassmesh(*arguments, "--failure-threshold", "Warning", code=79)
    shown = glassmesh(*arguments, "--output-threshold", "Warning").output
    assert "Info" not in shown
    assert "Warning" in shown


def test_analyze_without_a_mesh(manifest: Path, namespace: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["analyze", "--use-kube=false", *arguments])

    result = run("-n", namespace, str(manifest))
    assert result.exit_code == 79
    assert "IST0109" in result.output
    (tmp_path / "bad.yaml").write_text("a: [")
    broken = run(str(tmp_path / "bad.yaml"))
    assert broken.exit_code == 65
    assert "Some files couldn't be parsed." in broken.output
    assert run().exit_code == 2
    assert "virtualservice.UnreachableRuleAnalyzer" in run("-L").output
    (tmp_path / "bad.yaml").write_text(INVALID.replace("VERSION", "v1").replace("NS", namespace))
    told = run("-n", namespace, str(tmp_path / "bad.yaml"))
    assert (
        f"{tmp_path / 'bad.yaml'}:9) Schema validation error: spec.http[0].timeout: duration" in told.output
    )
    (tmp_path / "bad.yaml").write_text(
        "{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {name: a}}"
    )
    other = run(str(tmp_path / "bad.yaml"))
    assert other.exit_code == 0
    assert f"this kind is not known here: ServiceEntry a ({tmp_path / 'bad.yaml'}:1)" in other.output
