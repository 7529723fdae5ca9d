"""Which program stands for which image."""

from __future__ import annotations

import pytest

from node.images import UnknownImage, program, repository


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("docker.io/istio/examples-bookinfo-details-v1:1.20.3", "istio/examples-bookinfo-details-v1"),
        ("registry.example:5000/a/b:tag@sha256:00", "a/b"),
        ("curlimages/curl", "curlimages/curl"),
        ("busybox:1.36", "busybox"),
        ("localhost/x/y", "x/y"),
    ],
)
def test_repository(image: str, name: str) -> None:
    assert repository(image) == name


@pytest.mark.parametrize(
    ("image", "args", "port", "end"),
    [
        ("docker.io/istio/examples-bookinfo-productpage-v1:1", [], 9080, ("demo_apps.productpage", "9080")),
        ("registry.example/release/examples-bookinfo-details-v1:1", [], None, ("demo_apps.details", "9080")),
        ("examples-bookinfo-ratings-v2", [], 9090, ("demo_apps.ratings", "9090")),
        ("docker.io/kennethreitz/httpbin", [], 80, ("demo_apps.echo", "80")),
        ("docker.io/istio/tcp-echo-server:1.3", ["9000,9001", "hello"], None, ("demo_apps.tcp_echo", "9000,9001", "hello")),
        ("curlimages/curl", [], None, ("sleep", "infinity")),
        ("busybox", ["sleep", "5"], None, ("sleep", "5")),
        ("glassmesh/echo", [], 8080, ("demo_apps.echo", "8080")),
        ("docker.io/istio/proxyv2:1.29", ["proxy", "sidecar", "--domain", "x"], None, ("proxy", "sidecar", "--domain", "x")),
        ("glassmesh/proxy", ["proxy", "router"], None, ("proxy", "router")),
        ("glassmesh/proxy", ["istio-iptables", "-p", "15001"], None, ("node.iptables", "-p", "15001")),
    ],
)  # fmt: skip
def test_known(image: str, args: list[str], port: int | None, end: tuple[str, ...]) -> None:
    assert program(image, (), args, port).argv[-len(end) :] == end


def test_users() -> None:
    assert program("glassmesh/proxy", (), ["proxy", "sidecar"], None).uid == 1337
    assert program("glassmesh/proxy", (), ["istio-iptables"], None).uid == 0
    assert program("curl", (), [], None).uid == 1000


@pytest.mark.parametrize(("version", "stars"), [("v1", None), ("v2", "black"), ("v3", "red")])
def test_reviews_versions(version: str, stars: str | None) -> None:
    env = program(f"x/examples-bookinfo-reviews-{version}:1", (), [], 9080).env
    assert (env["SERVICE_VERSION"], env.get("STAR_COLOR")) == (version, stars)


def test_a_command_is_run_as_it_stands() -> None:
    assert program("no.such/image", ["/bin/sh", "-c"], ["true"], None).argv == ("/bin/sh", "-c", "true")


def test_an_unknown_image_says_what_to_do() -> None:
    with pytest.raises(UnknownImage, match=r"'postgres:16'.* give the container a command"):
        program("postgres:16", (), [], None)
