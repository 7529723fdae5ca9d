"""What the node tells over its Unix socket: container logs, as the kubelet does, and what runs.

| path | answers |
|---|---|
| `/containerLogs/NS/POD/CONTAINER?follow=&tailLines=&previous=` | the log, as it is written |
| `/pods` | JSON: every container with its process and memory, for `glassmesh status` and `exec` |
| `/healthz` | 200 |
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from aiohttp import web

from node.control_plane import ControlPlane
from node.log_files import LogFiles, read
from node.pod_worker import PodWorker
from node.pods import Pods


class NodeHttp:
    """Handlers of the node's socket."""

    def __init__(self, pods: Pods, logs: LogFiles, control: ControlPlane) -> None:
        self._pods = pods
        self._control = control
        self._logs = logs
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"<NodeHttp {'serving' if self._runner else 'not serving'}>"

    async def start(self, path: Path) -> None:
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._container_logs)
        app.router.add_get("/pods", self._running)
        app.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.SockSite(self._runner, _listener(path)).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _container_logs(self, request: web.Request) -> web.StreamResponse:
        namespace, pod, container = (request.match_info[part] for part in ("namespace", "pod", "container"))
        worker = self._pods.worker((namespace, pod))
        if worker is None or container not in {each.name for each in worker.containers}:
            raise web.HTTPNotFound(text=f"container {container} of pod {namespace}/{pod} does not run here")
        previous = _flag(request, "previous")
        path = self._logs.path(namespace, pod, container, previous)
        if not path.exists():
            if previous:
                raise web.HTTPBadRequest(
                    text=f'previous terminated container "{container}" in pod "{pod}" not found'
                )
            raise web.HTTPBadRequest(text=f'container "{container}" in pod "{pod}" is waiting to start')
        return await self._stream(request, path)

    async def _stream(self, request: web.Request, path: Path) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        left = _number(request, "limitBytes")
        try:
            async for block in read(path, _number(request, "tailLines"), _flag(request, "follow")):
                await response.write(block if left is None else block[:left])
                if left is not None and (left := left - len(block)) <= 0:
                    break
        except (ConnectionError, FileNotFoundError):
            pass  # the reader has seen enough, or the pod went
        return response

    async def _running(self, _: web.Request) -> web.Response:
        own = {"control": session_memory(self._control.pid), "node": _resident(Path("/proc/self"))}
        return web.json_response(
            {"pods": [_describe(worker) for worker in self._pods.workers], "memory": own}
        )


def _listener(path: Path) -> socket.socket:
    """A socket only the mesh's owner may connect to."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("true", "1")


def _number(request: web.Request, name: str) -> int | None:
    text = request.query.get(name, "")
    if text and not text.isdigit():
        raise web.HTTPBadRequest(text=f"{name}: {text!r} is not a number")
    return int(text) if text else None


def _describe(worker: PodWorker) -> dict[str, Any]:
    containers = [
        {
            "name": container.name,
            "pid": container.record.pid,
            "ready": container.record.ready,
            "restarts": container.record.restarts,
            "init": container.is_init,
            "state": container.record.state,
            "memory": session_memory(container.record.pid) if container.record.pid else 0,
            "spec": container.inside(),
        }
        for container in worker.containers
    ]
    return {
        "namespace": worker.namespace,
        "name": worker.name,
        "labels": worker.pod["metadata"].get("labels") or {},
        "annotations": worker.pod["metadata"].get("annotations") or {},
        "ip": worker.ip,
        "network": worker.network_name,
        "containers": containers,
    }


def session_memory(session: int) -> int:
    """Resident bytes of every process of a container, which is a session of its own."""
    total = 0
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += _resident(process)
        except (OSError, ValueError):
            pass  # it ended
    return total


def _resident(process: Path) -> int:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
