"""The Namespaces that are there from the start."""

from __future__ import annotations

from control.api.errors import ApiError
from control.api.request_info import RequestInfo
from control.api.write import WriteOptions, Writer
from control.resources import namespace

FROM_THE_START = ("default", "istio-system", "kube-system")


async def ensure_namespaces(writer: Writer) -> None:
    """Create the Namespaces that are missing; each gets its default ServiceAccount."""
    info = RequestInfo(namespace.KIND, "v1", None, None, None)
    for name in FROM_THE_START:
        try:
            await writer.create(info, {"metadata": {"name": name}}, WriteOptions(manager="glassmesh"))
        except ApiError as exc:
            if exc.reason != "AlreadyExists":
                raise
