"""What the four Bookinfo services share: JSON answers, numeric product ids, and where to find each other.

The environment variables are the Istio sample's: SERVICES_DOMAIN, NAME_HOSTNAME and NAME_SERVICE_PORT.
"""

from __future__ import annotations

import json
import os
from typing import Any

from demo_apps.http_server import Response

JSON_TYPE = ("content-type", "application/json")


def json_answer(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, ensure_ascii=False).encode(), status, [JSON_TYPE])


def product_id(path: str, prefix: str) -> int | None:
    """The number after `prefix` in a path such as `/reviews/0`; None where there is none."""
    digits = path.removeprefix(prefix)
    return int(digits) if digits.isascii() and digits.isdecimal() else None


def service_url(name: str) -> str:
    """`http://HOST[.DOMAIN]:PORT` of a Bookinfo service, from the environment."""
    host = os.environ.get(f"{name.upper()}_HOSTNAME", name)
    domain = os.environ.get("SERVICES_DOMAIN", "")
    port = os.environ.get(f"{name.upper()}_SERVICE_PORT", "9080")
    # On Kubernetes NAME_PORT-style links may hold a URL; the sample reads only the plain number.
    return f"http://{host}{'.' + domain if domain else ''}:{port}"
