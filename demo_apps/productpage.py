"""Bookinfo's front: the page, the session and the JSON API. `python -m demo_apps.productpage PORT`.

Paths, bodies and forwarded headers are the Istio sample's: `/`, `/productpage`, `/login`, `/logout`, `/health`, `/metrics`,
`/static/…`, `/api/v1/products[/{id}[/reviews|/ratings]]`. A service that does not answer costs its part of the page only.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from demo_apps import pages
from demo_apps.bookinfo import json_answer, service_url
from demo_apps.http_client import Answer, get
from demo_apps.http_message import Headers, MessageError
from demo_apps.http_server import Request, Response, run
from demo_apps.propagation import forwarded

PRODUCT: dict[str, Any] = {
    "id": 0,
    "title": "The Comedy of Errors",
    "descriptionHtml": '<a href="https://en.wikipedia.org/wiki/The_Comedy_of_Errors">Wikipedia Summary</a>: '
    "The Comedy of Errors is one of <b>William Shakespeare's</b> early plays. It is his shortest and one of his most "
    "farcical comedies, with a major part of the humour coming from slapstick and mistaken identity, in addition to "
    "puns and word play.",
}
API = "/api/v1/products"
# Seconds, and attempts: the sample retries reviews once and nothing else, which its fault injection task is about.
TIMEOUT = 3.0
ATTEMPTS = {"details": 1, "reviews": 2, "ratings": 1}
STATIC_TYPES = {"bookinfo.css": "text/css; charset=utf-8", "cover.svg": "image/svg+xml"}
HTML_TYPE = ("content-type", "text/html; charset=utf-8")

Fetch = Callable[[str, Headers, float], Answer]


@dataclass(frozen=True, slots=True)
class Result:
    """What a service said: the status to hand on, and its JSON or `{"error": …}`."""

    status: int
    data: dict[str, Any]

    @property
    def ok(self) -> bool:
        return self.status == 200


def session_user(request: Request) -> str:
    """The name given at login, from the `session` cookie; empty when nobody is signed in."""
    for cookie in request.header("cookie").split(";"):
        name, _, value = cookie.strip().partition("=")
        if name == "session":
            return unquote(value)
    return ""


def outgoing_headers(request: Request) -> Headers:
    headers = [(name, value) for name, value in forwarded(request.headers) if name.lower() != "end-user"]
    user = session_user(request)
    # A signed-in user decides end-user; without one, whoever called us may have set it.
    given = user or request.header("end-user")
    return [*headers, ("end-user", " ".join(given.split()))] if given else headers


class Productpage:
    """The request handler; `fetch` makes the calls to the other services."""

    def __init__(self, fetch: Fetch = get) -> None:
        self._fetch = fetch
        self._results: Counter[tuple[str, int]] = Counter()

    def __call__(self, request: Request) -> Response:
        path = request.path
        if path == API or path.startswith(f"{API}/"):
            return self._api(request, path.removeprefix(API).strip("/").split("/"))
        if path.startswith("/static/"):
            return static(path.removeprefix("/static/"))
        routes: dict[str, Callable[[Request], Response]] = {
            "/": index,
            "/index.html": index,
            "/productpage": self._page,
            "/login": login,
            "/logout": logout,
            "/health": lambda _: Response(
                b"Product page is healthy", headers=[("content-type", "text/plain")]
            ),
            "/metrics": self._metrics,
        }
        route = routes.get(path)
        return route(request) if route else Response(b"not found\n", 404)

    def _ask(self, service: str, number: str, headers: Headers) -> Result:
        """GETs `/SERVICE/NUMBER`; an answer other than 200 becomes the sample's error text with that status."""
        answer: Answer | None = None
        for _ in range(ATTEMPTS[service]):
            try:
                answer = self._fetch(
                    f"{service_url(service)}/{service}/{quote(number, safe='')}", headers, TIMEOUT
                )
                if answer.status == 200:
                    self._results[service, 200] += 1
                    return Result(200, answer.json())
            except (OSError, MessageError, ValueError):
                answer = None
        status = answer.status if answer else 500
        self._results[service, status] += 1
        what = "product details" if service == "details" else f"product {service}"
        return Result(status, {"error": f"Sorry, {what} are currently unavailable for this book."})

    def _page(self, request: Request) -> Response:
        headers = outgoing_headers(request)
        number = str(PRODUCT["id"])
        details = self._ask("details", number, headers)
        reviews = self._ask("reviews", number, headers)
        html = pages.productpage(PRODUCT, details.data, reviews.data, session_user(request))
        return Response(html.encode(), headers=[HTML_TYPE])

    def _api(self, request: Request, parts: list[str]) -> Response:
        if parts == [""]:
            return json_answer([PRODUCT])
        service = {1: "details", 2: parts[-1]}.get(len(parts), "")
        if service not in ATTEMPTS or (len(parts) == 2 and service == "details"):
            return json_answer({"error": "not found"}, 404)
        result = self._ask(service, parts[0], outgoing_headers(request))
        return json_answer(result.data, result.status)

    def _metrics(self, _: Request) -> Response:
        lines = ["# HELP request_result_total Results of requests", "# TYPE request_result_total counter"]
        for (service, status), count in sorted(self._results.items()):
            lines.append(
                f'request_result_total{{destination_app="{service}",response_code="{status}"}} {count}'
            )
        return Response(
            ("\n".join(lines) + "\n").encode(),
            headers=[("content-type", "text/plain; version=0.0.4; charset=utf-8")],
        )


def index(_: Request) -> Response:
    return Response(pages.index(PRODUCT).encode(), headers=[HTML_TYPE])


def static(name: str) -> Response:
    kind = STATIC_TYPES.get(name)
    if kind is None:
        return Response(b"not found\n", 404)
    content = (Path(__file__).parent / "static" / name).read_bytes()
    return Response(content, headers=[("content-type", kind), ("cache-control", "max-age=3600")])


def _back(request: Request, cookie: str) -> Response:
    """Redirects to where the browser was, setting the session cookie."""
    location = request.header("referer", "/productpage")
    return Response(
        status=302, headers=[("location", location), ("set-cookie", f"{cookie}; Path=/; HttpOnly")]
    )


def login(request: Request) -> Response:
    if request.method != "POST":
        return Response(b"method not allowed\n", 405, [("allow", "POST")])
    user = parse_qs(request.body.decode("utf-8", "replace")).get("username", [""])[0]
    return _back(request, f"session={quote(user, safe='')}")


def logout(request: Request) -> Response:
    return _back(request, "session=; Max-Age=0")


if __name__ == "__main__":
    run(Productpage(), int(sys.argv[1]))
