"""Our own kind under an unmodified kubectl: applied, shown, explained, described, refused with every path."""

from __future__ import annotations

from typing import Any

LIMIT = """
apiVersion: glassmesh.io/v1alpha1
kind: LocalRateLimit
metadata: {name: ratings}
spec:
  selector: {matchLabels: {app: ratings}}
  tokenBucket: {maxTokens: 100, tokensPerFill: 50, fillInterval: 1s}
  limits:
  - {match: {path: {prefix: /api}}, tokenBucket: {maxTokens: 5, fillInterval: 1m}}
"""
Kubectl = Any


def test_apply_get_explain_describe(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    assert kubectl("apply", *n, "-f", "-", stdin=LIMIT) == "localratelimit.glassmesh.io/ratings created\n"
    assert kubectl("apply", *n, "-f", "-", stdin=LIMIT) == "localratelimit.glassmesh.io/ratings unchanged\n"
    heading, row = kubectl("get", "lrl", *n).splitlines()
    assert heading.split() == ["NAME", "TARGET", "LIMIT", "BURST", "AGE"]
    assert row.split()[:4] == ["ratings", "app=ratings", "50/1s", "100"]
    changed = LIMIT.replace("maxTokens: 100", "maxTokens: 7")
    kubectl("apply", *n, "-f", "-", stdin=changed)
    assert (
        kubectl.json("get", "localratelimits.glassmesh.io", "ratings", *n)["spec"]["tokenBucket"]["maxTokens"]
        == 7
    )
    assert "A further bucket" in kubectl("explain", "lrl.spec.limits")
    assert "fillInterval" in kubectl("explain", "localratelimit.spec.tokenBucket")
    assert "unset means 429" in kubectl("explain", "lrl.spec.status")
    assert "Fill Interval:" in kubectl("describe", "lrl", "ratings", *n)
    assert "ratings" in kubectl("get", "glassmesh-io", *n)
    kubectl("delete", "lrl", "ratings", *n)
    assert kubectl("get", "lrl", *n) == ""


def test_every_mistake_is_told(kubectl: Kubectl, namespace: str) -> None:
    bad = LIMIT.replace("maxTokens: 100", "maxTokens: 0").replace("{prefix: /api}", "{regex: '('}")
    done = kubectl.run("apply", "-n", namespace, "-f", "-", stdin=bad + "  status: 200\n  burst: 1\n")
    assert done.returncode == 1
    for path in (
        "spec.tokenBucket.maxTokens",
        "spec.limits[0].match.path.regex",
        "spec.status",
        "spec.burst",
    ):
        assert path in done.stderr, done.stderr
