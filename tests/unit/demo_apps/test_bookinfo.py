"""The four services give what Istio's sample gives: paths, JSON, forwarded headers, and what is shown when one is down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo_apps import details, pages, reviews
from demo_apps.http_client import Answer
from demo_apps.http_message import Headers, MessageError
from demo_apps.http_server import Request, Response
from demo_apps.productpage import Productpage
from demo_apps.ratings import Ratings
from demo_apps.reviews import Reviews, Settings

RATED = {"reviewer": "Reviewer1", "text": "<b>fine</b>", "rating": {"stars": 4, "color": "red"}}


def request(target: str, method: str = "GET", headers: Headers | None = None, body: bytes = b"") -> Request:
    return Request(method, target, "HTTP/1.1", headers or [], body, [], b"", "127.0.0.6:1", "10.0.0.1:9080")


def data(response: Response) -> Any:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def text(response: Response) -> str:
    assert isinstance(response.body, bytes)
    return response.body.decode()


class Services:
    """Stands in for the services productpage asks: an answer per name, and what was asked."""

    def __init__(self, **answers: Answer | Exception) -> None:
        self.answers = answers
        self.asked: list[tuple[str, dict[str, str]]] = []

    def __call__(self, url: str, headers: Headers, timeout: float) -> Answer:
        self.asked.append((url, dict(headers)))
        answer = self.answers[url.split("/")[3]]
        if isinstance(answer, Exception):
            raise answer
        return answer


def ok(value: Any, status: int = 200) -> Answer:
    return Answer(status, "", "HTTP/1.1", [], json.dumps(value).encode(), [])


def test_details() -> None:
    book = data(details.handle(request("/details/0")))
    assert (book["id"], book["author"], book["ISBN-13"]) == (0, "William Shakespeare", "123-1234567890")
    assert details.handle(request("/details/x")).status == 400
    assert details.handle(request("/health")).status == 200
    assert details.handle(request("/")).status == 404


def test_ratings_are_posted_and_read() -> None:
    ratings = Ratings()
    assert data(ratings(request("/ratings/0"))) == {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
    assert ratings(request("/ratings/1", "POST", body=b'{"Reviewer1": 1}')).status == 200
    assert data(ratings(request("/ratings/1")))["ratings"] == {"Reviewer1": 1}
    for body in (b"no json", b"[]", b'{"a": "b"}'):
        assert ratings(request("/ratings/0", "POST", body=body)).status == 400
    assert ratings(request("/ratings/-1")).status == 400


@pytest.mark.parametrize(
    ("environment", "color", "timeout"),
    [
        ({}, None, 2.5),
        ({"SERVICE_VERSION": "v1"}, None, 2.5),
        ({"SERVICE_VERSION": "v2"}, "black", 10.0),
        ({"SERVICE_VERSION": "v3"}, "red", 2.5),
        ({"ENABLE_RATINGS": "true"}, "black", 10.0),
        ({"SERVICE_VERSION": "v3", "ENABLE_RATINGS": "false"}, None, 2.5),
        ({"SERVICE_VERSION": "v3", "STAR_COLOR": "green"}, "green", 2.5),
    ],
)
def test_versions_of_reviews(
    environment: dict[str, str], color: str | None, timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SERVICE_VERSION", "ENABLE_RATINGS", "STAR_COLOR", "CLUSTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = reviews.settings()
    assert (found.color, found.timeout, found.cluster) == (color, timeout, "null")


def test_reviews_hands_on_headers_and_shows_stars() -> None:
    seen: Headers = []

    def ratings(_number: int, headers: Headers, _timeout: float) -> dict[str, int]:
        seen.extend(headers)
        return {"Reviewer1": 5}

    app = Reviews(Settings("red", "reviews-v3-x", "null"), ratings)
    got = data(
        app(request("/reviews/0", headers=[("X-Request-Id", "7"), ("end-user", "jason"), ("x-other", "no")]))
    )
    assert seen == [("X-Request-Id", "7"), ("end-user", "jason")]
    assert (got["id"], got["podname"], got["clustername"]) == ("0", "reviews-v3-x", "null")
    assert got["reviews"][0]["rating"] == {"stars": 5, "color": "red"}
    assert got["reviews"][1]["rating"] == {"error": "Ratings service is currently unavailable"}


def test_reviews_without_ratings_asks_nobody() -> None:
    app = Reviews(Settings(None, "p", "null"), lambda *_: pytest.fail("asked"))
    assert "rating" not in data(app(request("/reviews/0")))["reviews"][0]
    assert app(request("/reviews/x")).status == 404


def test_reviews_says_so_when_ratings_are_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATINGS_HOSTNAME", "127.0.0.1")
    monkeypatch.setenv("RATINGS_SERVICE_PORT", "1")
    app = Reviews(Settings("black", "p", "null"))
    assert data(app(request("/reviews/0")))["reviews"][0]["rating"] == reviews.UNAVAILABLE


def test_the_page_and_the_headers_it_hands_on() -> None:
    services = Services(
        details=ok({"author": "W", "pages": 200}), reviews=ok({"podname": "reviews-v2-1", "reviews": [RATED]})
    )
    headers = [
        ("cookie", "a=b; session=jason"),
        ("x-b3-traceid", "1"),
        ("end-user", "forged"),
        ("accept", "x"),
    ]
    page = text(Productpage(services)(request("/productpage?u=test", headers=headers)))
    assert "reviews-v2-1" in page
    assert '<span class="badge v2">v2</span>' in page
    assert "&lt;b&gt;fine&lt;/b&gt;" in page
    assert "jason" in page
    url, sent = services.asked[0]
    assert url == "http://details:9080/details/0"
    assert sent == {"cookie": "a=b; session=jason", "x-b3-traceid": "1", "end-user": "jason"}


def test_reviews_are_asked_twice_and_the_rest_once() -> None:
    services = Services(details=OSError(), reviews=MessageError("empty reply"), ratings=ok({}, 503))
    app = Productpage(services)
    page = text(app(request("/productpage")))
    assert "Sorry, product details are currently unavailable for this book." in page
    assert "Sorry, product reviews are currently unavailable for this book." in page
    assert [url.split("/")[3] for url, _ in services.asked] == ["details", "reviews", "reviews"]
    got = app(request("/api/v1/products/0/ratings"))
    assert (got.status, data(got)) == (
        503,
        {"error": "Sorry, product ratings are currently unavailable for this book."},
    )
    assert 'request_result_total{destination_app="reviews",response_code="500"} 1' in text(
        app(request("/metrics"))
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/index.html", 200),
        ("/health", 200),
        ("/api/v1/products", 200),
        ("/api/v1/products/0", 200),
        ("/api/v1/products/0/reviews", 200),
        ("/api/v1/products/0/details", 404),
        ("/api/v1/products/0/nothing", 404),
        ("/api/v1/productsmore", 404),
        ("/static/bookinfo.css", 200),
        ("/static/cover.svg", 200),
        ("/static/../productpage.py", 404),
        ("/nothing", 404),
    ],
)
def test_paths_of_productpage(path: str, status: int) -> None:
    assert Productpage(Services(details=ok({}), reviews=ok({})))(request(path)).status == status


def test_services_are_found_by_the_samples_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICES_DOMAIN", "shop.svc.cluster.local")
    monkeypatch.setenv("DETAILS_HOSTNAME", "books")
    monkeypatch.setenv("DETAILS_SERVICE_PORT", "80")
    services = Services(details=ok({}))
    Productpage(services)(request("/api/v1/products/0"))
    assert services.asked[0][0] == "http://books.shop.svc.cluster.local:80/details/0"


def test_login_and_logout() -> None:
    app = Productpage(Services())
    got = app(
        request(
            "/login", "POST", [("referer", "http://x/productpage?u=test")], b"username=ja%26son+x&passwd=1"
        )
    )
    assert got.status == 302
    assert ("location", "http://x/productpage?u=test") in got.headers
    assert ("set-cookie", "session=ja%26son%20x; Path=/; HttpOnly") in got.headers
    assert any("Max-Age=0" in value for _, value in app(request("/logout")).headers)
    assert app(request("/login")).status == 405


@pytest.mark.parametrize(
    ("pod", "version"),
    [("reviews-v2-6d9-x", "v2"), ("reviews-v13", "v13"), ("reviews", ""), ("rev-v2x-1", "")],
)
def test_version_of_a_pod(pod: str, version: str) -> None:
    assert pages.version_of(pod) == version


def test_a_service_cannot_put_markup_into_the_page() -> None:
    evil = {
        "podname": "<script>",
        "reviews": [{"reviewer": "<i>", "text": "<u>", "rating": {"stars": 99, "color": '">'}}],
    }
    page = pages.productpage({"title": "t", "descriptionHtml": ""}, {"type": "<s>"}, evil, "<em>")
    for tag in ("<script>", "<i>", "<u>", "<s>", "<em>", '">"'):
        assert tag not in page
    assert page.count("★") == 5
