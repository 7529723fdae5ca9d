"""Bookinfo's routing rules, in the sample's shape, do what Istio's documentation says of them.

One rule after another on a running Bookinfo, seen from outside through the gateway: which version of reviews a page names.
Reference: Istio's tasks "Request Routing" and "Traffic Shifting".
"""

from __future__ import annotations

import http.cookiejar
import re
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.netns.mesh import Mesh, Object

pytestmark = pytest.mark.netns

MANIFESTS = Path(__file__).parents[2] / "demo_apps" / "manifests"
NAMESPACE = "samples"
WORKLOADS = ("details", "ratings", "productpage")
VERSION = re.compile(r"reviews-(v\d)")


def documents(name: str) -> list[Object]:
    """A manifest's objects, in the namespace of this test."""
    found = [each for each in yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()) if each]
    for each in found:
        each["metadata"]["namespace"] = NAMESPACE
    return found


class Browser:
    """A user: what they see, signed in or not."""

    def __init__(self, mesh: Mesh) -> None:
        self._origin = f"http://127.0.0.1:{mesh.gateway_port}"
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(jar)

    def sign_in(self, name: str) -> None:
        form = urllib.parse.urlencode({"username": name, "passwd": ""}).encode()
        self._opener.open(f"{self._origin}/login", form, timeout=10).close()

    def version(self) -> str:
        """Of the reviews on the page; empty for a page without."""
        try:
            with self._opener.open(f"{self._origin}/productpage", timeout=10) as page:
                found = VERSION.search(page.read().decode())
        except OSError:
            return ""
        return found[1] if found else ""

    def versions(self, times: int) -> Counter[str]:
        return Counter(self.version() for _ in range(times))


@pytest.fixture(scope="module")
def bookinfo(mesh: Mesh) -> Iterator[Mesh]:
    namespace = {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}}
    mesh.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": namespace})
    for name in ("bookinfo", "bookinfo-gateway", "destination-rule-all"):
        mesh.apply(*documents(name))
    for app in WORKLOADS:
        mesh.ready(app, 1, NAMESPACE)
    mesh.ready("reviews", 3, NAMESPACE)
    mesh.wait(lambda: Browser(mesh).version(), "the page")
    yield mesh
    mesh.delete(f"/api/v1/namespaces/{NAMESPACE}")
    mesh.wait(lambda: mesh.gone(f"/api/v1/namespaces/{NAMESPACE}"), "the namespace to go")


def test_without_rules_all_versions_take_turns(bookinfo: Mesh) -> None:
    assert set(Browser(bookinfo).versions(60)) == {"v1", "v2", "v3"}


def test_all_to_v1(bookinfo: Mesh) -> None:
    bookinfo.apply(*documents("virtual-service-all-v1"))
    user = Browser(bookinfo)
    bookinfo.wait(lambda: set(user.versions(8)) == {"v1"}, "all pages with v1")
    assert set(user.versions(20)) == {"v1"}


def test_one_user_gets_v2(bookinfo: Mesh) -> None:
    bookinfo.apply(*documents("virtual-service-reviews-test-v2"))
    jason, nobody, somebody = (Browser(bookinfo) for _ in range(3))
    jason.sign_in("jason")
    somebody.sign_in("jasonx")
    bookinfo.wait(lambda: set(jason.versions(6)) == {"v2"}, "v2 for jason")
    assert [set(user.versions(10)) for user in (jason, nobody, somebody)] == [{"v2"}, {"v1"}, {"v1"}]


def test_half_to_v3(bookinfo: Mesh) -> None:
    bookinfo.apply(*documents("virtual-service-reviews-50-v3"))
    user = Browser(bookinfo)
    bookinfo.wait(lambda: "v3" in user.versions(6), "v3 on a page")
    counted = user.versions(100)
    assert set(counted) == {"v1", "v3"}
    assert 25 <= counted["v3"] <= 75  # 5 standard deviations


def test_a_tenth_to_v2(bookinfo: Mesh) -> None:
    bookinfo.apply(*documents("virtual-service-reviews-90-10"))
    user = Browser(bookinfo)
    bookinfo.wait(lambda: "v3" not in user.versions(12), "no page with v3")
    counted = user.versions(200)
    assert set(counted) == {"v1", "v2"}
    assert 1 <= counted["v2"] <= 42


def test_all_to_v3(bookinfo: Mesh) -> None:
    bookinfo.apply(*documents("virtual-service-reviews-v3"))
    user = Browser(bookinfo)
    bookinfo.wait(lambda: set(user.versions(8)) == {"v3"}, "all pages with v3")
    assert set(user.versions(20)) == {"v3"}


def test_without_the_rule_again(bookinfo: Mesh) -> None:
    path = f"/apis/networking.istio.io/v1/namespaces/{NAMESPACE}/virtualservices/reviews"
    bookinfo.delete(path)
    user = Browser(bookinfo)
    bookinfo.wait(lambda: len(user.versions(12)) == 3, "all versions")
