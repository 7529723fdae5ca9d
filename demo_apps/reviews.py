"""Bookinfo's reviews service: `/reviews/{id}` and `/health`. `python -m demo_apps.reviews PORT`.

SERVICE_VERSION chooses the sample's three versions: v1 shows no ratings, v2 black stars, v3 red ones. As in the sample,
ENABLE_RATINGS and STAR_COLOR say the same in detail and win where they are set.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from demo_apps.bookinfo import json_answer, product_id, service_url
from demo_apps.http_client import get
from demo_apps.http_message import Headers, MessageError
from demo_apps.http_server import Request, Response, run
from demo_apps.propagation import forwarded

TEXTS = {
    "Reviewer1": "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!",
    "Reviewer2": "Absolutely fun and entertaining. "
    "The play lacks thematic depth when compared to other plays by Shakespeare.",
}
UNAVAILABLE = {"error": "Ratings service is currently unavailable"}
STAR_COLORS = {"v2": "black", "v3": "red"}

Stars = dict[str, int]


@dataclass(frozen=True, slots=True)
class Settings:
    """How this instance answers; `color` is None where the version shows no ratings."""

    color: str | None
    pod: str
    cluster: str

    @property
    def timeout(self) -> float:
        """Seconds the ratings may take; the sample's versions differ on purpose, for the fault injection task."""
        return 10.0 if self.color == "black" else 2.5


def settings() -> Settings:
    version = os.environ.get("SERVICE_VERSION", "v1")
    enabled = os.environ.get("ENABLE_RATINGS", str(version in STAR_COLORS)).lower() == "true"
    color = os.environ.get("STAR_COLOR", STAR_COLORS.get(version, "black"))
    pod = os.environ.get("HOSTNAME") or socket.gethostname()
    # The sample prints Java's null where no cluster name is given.
    return Settings(color if enabled else None, pod, os.environ.get("CLUSTER_NAME", "null"))


def fetch_ratings(number: int, headers: Headers, timeout: float) -> Stars | None:
    """Stars by reviewer from the ratings service, or None when it does not answer well and in time."""
    try:
        answer = get(f"{service_url('ratings')}/ratings/{number}", headers, timeout)
        if answer.status != 200:
            return None
        ratings = answer.json()["ratings"]
        return {str(reviewer): int(stars) for reviewer, stars in ratings.items()}
    except (OSError, MessageError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Reviews:
    """The request handler; `ratings` is asked for the stars."""

    def __init__(
        self, settings: Settings, ratings: Callable[[int, Headers, float], Stars | None] = fetch_ratings
    ) -> None:
        self._settings = settings
        self._ratings = ratings

    def __call__(self, request: Request) -> Response:
        if request.path == "/health":
            return json_answer({"status": "Reviews is healthy"})
        number = product_id(request.path, "/reviews/")
        if number is None:
            return json_answer({"error": "not found"}, 404)
        return json_answer(self._reviews(number, forwarded(request.headers)))

    def _reviews(self, number: int, headers: Headers) -> dict[str, Any]:
        color = self._settings.color
        stars = self._ratings(number, headers, self._settings.timeout) if color else None
        reviews: list[dict[str, Any]] = [{"reviewer": name, "text": text} for name, text in TEXTS.items()]
        if color:
            for review in reviews:
                given = (stars or {}).get(review["reviewer"])
                review["rating"] = UNAVAILABLE if given is None else {"stars": given, "color": color}
        return {
            "id": str(number),
            "podname": self._settings.pod,
            "clustername": self._settings.cluster,
            "reviews": reviews,
        }


if __name__ == "__main__":
    run(Reviews(settings()), int(sys.argv[1]))
