"""Bookinfo's rules, in the sample's shape, do what Istio's documentation says of them.

One rule after another on a running Bookinfo, seen from outside through the gateway: what a page names, shows and takes.
Reference: Istio's tasks "Request Routing", "Fault Injection", "Traffic Shifting" and "Request Timeouts".
"""

from __future__ import annotations

import http.cookiejar
import re
import time
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
NO_REVIEWS = "Sorry, product reviews are currently unavailable for this book."
NO_RATINGS = "Ratings service is currently unavailable"


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

    def page(self) -> str:
        """What is shown; empty while there is no page."""
        try:
            with self._opener.open(f"{self._origin}/productpage", timeout=10) as page:
                return str(page.read().decode())
        except OSError:
            return ""

    def timed_page(self) -> tuple[str, float]:
        """What is shown, and after how many seconds."""
        began = time.monotonic()
        return self.page(), time.monotonic() - began

    def version(self) -> str:
        """Of the reviews on the page; empty for a page without."""
        found = VERSION.search(self.page())
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
    mesh.delete(f"/api/v1/namespaces/{NAMESPACE}")  # the pods go while other tests start theirs


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


def logged(mesh: Mesh, workload: str, *parts: str) -> bool:
    """Whether a line of the sidecar's access log has all parts."""
    lines = mesh.glassmesh("logs", f"{NAMESPACE}/{workload}", "-c", "istio-proxy").splitlines()
    return any(all(part in line for part in parts) for line in lines)


def curl(mesh: Mesh, workload: str, *arguments: str) -> str:
    """What the app of a workload gets within a second."""
    return mesh.exec(f"{NAMESPACE}/{workload}", "curl", "-s", "-m", "1", *arguments, check=False)


def test_a_delay_shows_the_bug_in_the_timeouts(bookinfo: Mesh) -> None:
    """Reviews v2 waits 10 s for ratings, but productpage only twice 3 s for reviews: 7 s are too long for jason alone."""
    jason, nobody = Browser(bookinfo), Browser(bookinfo)
    jason.sign_in("jason")
    bookinfo.apply(*documents("tasks/ratings-delay-for-jason"))
    # The rule reaches reviews' sidecar after it was accepted; a page without a delay shows stars.
    page, seconds = bookinfo.wait(
        lambda: shown if NO_REVIEWS in (shown := jason.timed_page())[0] else None, "the delay"
    )
    assert 5.8 < seconds < 7
    assert "unavailable" in page
    page, seconds = nobody.timed_page()
    assert "reviews-v1" in page
    assert NO_REVIEWS not in page
    assert seconds < 1
    bookinfo.wait(
        lambda: logged(bookinfo, "reviews-v2", "/ratings/0", " 200 DI "), "the late answer in the log"
    )


def test_an_abort_shows_that_ratings_are_unavailable(bookinfo: Mesh) -> None:
    bookinfo.apply(*documents("tasks/ratings-abort-for-jason"))
    ask = ("-H", "end-user: jason", "http://ratings:9080/ratings/0")
    bookinfo.wait(lambda: "fault filter abort" in curl(bookinfo, "reviews-v2", *ask), "the abort")
    jason, nobody = Browser(bookinfo), Browser(bookinfo)
    jason.sign_in("jason")
    page, seconds = jason.timed_page()
    assert page.count(NO_RATINGS) == 2  # one for each reviewer
    assert "reviews-v2" in page
    assert seconds < 1
    assert NO_RATINGS not in nobody.page()
    bookinfo.wait(
        lambda: logged(bookinfo, "reviews-v2", "/ratings/0", " 500 FI fault_filter_abort "),
        "FI in the log",
        5,
    )


def test_a_slow_dependency_is_waited_for(bookinfo: Mesh) -> None:
    bookinfo.apply(*documents("tasks/reviews-v2"), *documents("tasks/ratings-slow"))
    user = Browser(bookinfo)
    page, seconds = bookinfo.wait(
        lambda: shown if (shown := user.timed_page())[1] > 1.5 else None, "ratings to be slow"
    )
    assert 2 <= seconds < 2.9
    assert "reviews-v2" in page
    assert NO_RATINGS not in page


def test_a_timeout_shows_the_page_after_two_tries(bookinfo: Mesh) -> None:
    """Half a second for reviews; productpage itself asks twice."""
    bookinfo.apply(*documents("tasks/reviews-v2-timeout"))
    ask = "http://reviews:9080/reviews/0"
    bookinfo.wait(lambda: "timeout" in curl(bookinfo, "productpage-v1", ask), "the timeout")
    page, seconds = Browser(bookinfo).timed_page()
    assert NO_REVIEWS in page
    assert 1 <= seconds < 1.8
    bookinfo.wait(lambda: logged(bookinfo, "productpage-v1", "/reviews/0", " 504 UT "), "UT in the log", 5)
    bookinfo.apply(*documents("virtual-service-all-v1"))


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
