"""`kubectl logs`: the pods/log subresource, passed through to the node as the API server does to a kubelet.

Reference: k8s.io/kubernetes/pkg/registry/core/pod/strategy.go (LogLocation) for the choice of container.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp
from aiohttp import web

from control.api import errors
from control.resources.kind import Object

_PASSED_ON = ("follow", "previous", "timestamps", "tailLines", "limitBytes", "sinceSeconds", "sinceTime")


def choose_container(pod: Object, wanted: str | None) -> str:
    """The container whose log is meant. Raises ApiError 400, naming the choices."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    init = [container["name"] for container in spec.get("initContainers") or []]
    regular = [container["name"] for container in spec["containers"]]
    if wanted:
        if wanted not in init + regular:
            raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(regular) == 1 and not init:
        return str(regular[0])
    if len(regular) == 1:
        return str(regular[0])
    choices = f"choose one of: [{' '.join(regular)}]"
    if init:
        choices += f" or one of the init containers: [{' '.join(init)}]"
    raise errors.bad_request(f"a container name must be specified for pod {name}, {choices}")


async def stream(request: web.Request, pod: Object, node_socket: Path | None) -> web.StreamResponse:
    """Answer with what the node answers, as it comes."""
    container = choose_container(pod, request.query.get("container"))
    meta = pod["metadata"]
    if node_socket is None:
        raise errors.ApiError(
            500, "InternalError", f"no node is attached to read the log of pod {meta['name']}"
        )
    path = f"/containerLogs/{meta['namespace']}/{meta['name']}/{container}"
    query = {name: request.query[name] for name in _PASSED_ON if name in request.query}
    try:
        # A followed log may be silent for hours, so only connecting has a limit.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(node_socket)), timeout=timeout
            ) as session,
            session.get(f"http://node{path}", params=query) as answer,
        ):
            return await _copy(request, answer)
    except aiohttp.ClientError as exc:
        message = f"Get {path!r}: the node does not answer: {exc}"
        raise errors.ApiError(500, "InternalError", message) from exc


async def _copy(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    if answer.status != 200:
        text = (await answer.text()).strip()
        code = answer.status if answer.status in (400, 404) else 500
        reason = {400: "BadRequest", 404: "NotFound"}.get(code, "InternalError")
        raise errors.ApiError(code, reason, text or f"the node answered {answer.status}")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    except ConnectionResetError:
        pass  # the reader has seen enough
    return response
