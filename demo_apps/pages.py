"""The HTML of Bookinfo's productpage, filled from what the services answered.

Pure: values in, a page out. Everything that came from a service or a user is escaped, except the product description,
which is this app's own HTML. The page says which reviews pod answered, since that is what routing rules change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any

TEMPLATES = Path(__file__).parent / "pages"
MAX_STARS = 5
DETAIL_NAMES = {
    "type": "Type",
    "pages": "Pages",
    "publisher": "Publisher",
    "language": "Language",
    "ISBN-10": "ISBN-10",
    "ISBN-13": "ISBN-13",
}


def _template(name: str) -> Template:
    return Template((TEMPLATES / name).read_text(encoding="utf-8"))


def index(product: Mapping[str, Any]) -> str:
    return _template("index.html").substitute(title=escape(product["title"]))


def productpage(
    product: Mapping[str, Any], details: Mapping[str, Any], reviews: Mapping[str, Any], user: str
) -> str:
    """The page; `details` and `reviews` are the services' JSON, or `{"error": text}`."""
    return _template("productpage.html").substitute(
        title=escape(product["title"]),
        author=escape(str(details.get("author", "William Shakespeare"))),
        year=escape(str(details.get("year", ""))),
        description=product["descriptionHtml"],
        session=session(user),
        details=details_table(details),
        reviews=review_cards(reviews),
        served=served_by(reviews),
    )


def session(user: str) -> str:
    if user:
        initial = escape(user[:1].upper())
        return (
            f'<span class="avatar" aria-hidden="true">{initial}</span><span class="user">{escape(user)}</span>'
            '<a class="button quiet" href="/logout">Sign out</a>'
        )
    return (
        '<form method="post" action="/login"><label class="hidden" for="username">User name</label>'
        '<input id="username" name="username" placeholder="user name, any" required autocomplete="off">'
        '<button class="button" type="submit">Sign in</button></form>'
    )


def details_table(details: Mapping[str, Any]) -> str:
    if "error" in details:
        return _unavailable(details["error"])
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{escape(str(details[key]))}</dd></div>"
        for key, name in DETAIL_NAMES.items()
        if key in details
    )
    return f"<dl>{rows}</dl>"


def review_cards(reviews: Mapping[str, Any]) -> str:
    if "error" in reviews:
        return _unavailable(reviews["error"])
    return "".join(
        f'<article class="card review">{rating(review.get("rating"))}<blockquote>{escape(review["text"])}</blockquote>'
        f'<p class="by">{escape(review["reviewer"])}</p></article>'
        for review in reviews.get("reviews", [])
    )


def rating(given: Mapping[str, Any] | None) -> str:
    """The stars of a review: none for version v1, a note when the ratings service did not answer."""
    if given is None:
        return ""
    if "error" in given:
        return f'<p class="no-stars">{escape(given["error"])}</p>'
    stars = max(0, min(int(given["stars"]), MAX_STARS))
    color = re.sub(r"[^a-zA-Z]", "", str(given.get("color", "black")))
    return (
        f'<p class="stars {color}" role="img" aria-label="{stars} of {MAX_STARS} stars">'
        f'{"★" * stars}<span class="rest">{"★" * (MAX_STARS - stars)}</span></p>'
    )


def version_of(pod: str) -> str:
    """`v2` of `reviews-v2-6d9f`; empty where the pod's name does not say."""
    found = re.search(r"-(v\d+)(?:-|$)", pod)
    return found[1] if found else ""


def served_by(reviews: Mapping[str, Any]) -> str:
    if "error" in reviews:
        return ""
    pod = str(reviews.get("podname", ""))
    version = version_of(pod)
    badge = f'<span class="badge {version}">{version}</span>' if version else ""
    cluster = str(reviews.get("clustername", "null"))
    where = f" on {escape(cluster)}" if cluster != "null" else ""
    return f'<p class="served">{badge}Reviews served by <code>{escape(pod)}</code>{where}</p>'


def _unavailable(text: str) -> str:
    return f'<p class="card unavailable">{escape(text)}</p>'
