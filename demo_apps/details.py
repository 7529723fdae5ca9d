"""Bookinfo's details service: `/details/{id}` and `/health`. `python -m demo_apps.details PORT`."""

from __future__ import annotations

import sys

from demo_apps.bookinfo import json_answer, product_id
from demo_apps.http_server import Request, Response, run


def handle(request: Request) -> Response:
    if request.path == "/health":
        return json_answer({"status": "Details is healthy"})
    if not request.path.startswith("/details/"):
        return json_answer({"error": "not found"}, 404)
    number = product_id(request.path, "/details/")
    if number is None:
        return json_answer({"error": "please provide numeric product id"}, 400)
    return json_answer(
        {
            "id": number,
            "author": "William Shakespeare",
            "year": 1595,
            "type": "paperback",
            "pages": 200,
            "publisher": "PublisherA",
            "language": "English",
            "ISBN-10": "1234567890",
            "ISBN-13": "123-1234567890",
        }
    )


if __name__ == "__main__":
    run(handle, int(sys.argv[1]))
