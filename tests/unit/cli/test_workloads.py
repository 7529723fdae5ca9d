"""A workload's name as people write it, and what they are told when there is none."""

from __future__ import annotations

import click
import pytest

from cli.workloads import named, pod_of

PODS = ("shop-v1-abc-x.default", "cart-1.default", "shop-v1-abc-y.test")


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("shop-v1", ("shop-v1", "default")),
        ("shop-v1.test", ("shop-v1", "test")),
        ("test/shop-v1", ("shop-v1", "test")),
        ("deployment/shop-v1", ("shop-v1", "default")),
        ("deploy/shop-v1.test", ("shop-v1", "test")),
    ],
)
def test_name_and_namespace(word: str, found: tuple[str, str]) -> None:
    assert named(word, "default") == found


def test_a_pod_by_its_name_or_its_deployments() -> None:
    assert pod_of("cart-1", "default", PODS, "pod") == "cart-1"
    assert pod_of("shop-v1", "test", PODS, "pod") == "shop-v1-abc-y"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        (
            "zzzzzzzzzzzzzzzzzzzzzzz",
            PODS,
            "there are: cart-1.default, shop-v1-abc-x.default, shop-v1-abc-y.test",
        ),
        ("zzzzzzzzzzzzzzzzzzzzzzz", (), "there are: none"),
        ("cart-2", ("cart-1.default",), "did you mean cart-1.default?"),
    ],
)
def test_a_workload_nobody_knows(name: str, known: tuple[str, ...], hint: str) -> None:
    with pytest.raises(click.ClickException) as told:
        pod_of(name, "default", known, "connected proxy")
    assert told.value.message == f"no connected proxy is default/{name}; {hint}"
