"""Bookinfo's ratings service: `/ratings/{id}` (GET, POST) and `/health`. `python -m demo_apps.ratings PORT`.

Posted ratings live in this process's memory, as in the sample without its database.
"""

from __future__ import annotations

import json
import sys

from demo_apps.bookinfo import json_answer, product_id
from demo_apps.http_server import Request, Response, run

DEFAULT_RATINGS = {"Reviewer1": 5, "Reviewer2": 4}


class Ratings:
    """The request handler and the ratings posted so far."""

    def __init__(self) -> None:
        self._posted: dict[int, dict[str, int]] = {}

    def __call__(self, request: Request) -> Response:
        if request.path == "/health":
            return json_answer({"status": "Ratings is healthy"})
        if not request.path.startswith("/ratings/"):
            return json_answer({"error": "not found"}, 404)
        number = product_id(request.path, "/ratings/")
        if number is None:
            return json_answer({"error": "please provide numeric product ID"}, 400)
        if request.method == "POST":
            return self._post(number, request.body)
        return json_answer({"id": number, "ratings": self._posted.get(number, DEFAULT_RATINGS)})

    def _post(self, number: int, body: bytes) -> Response:
        try:
            ratings = json.loads(body)
        except ValueError:
            ratings = None
        if not isinstance(ratings, dict) or not all(isinstance(stars, int) for stars in ratings.values()):
            return json_answer({"error": "please provide valid ratings JSON"}, 400)
        self._posted[number] = ratings
        return json_answer({"id": number, "ratings": ratings})


if __name__ == "__main__":
    run(Ratings(), int(sys.argv[1]))
