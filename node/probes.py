"""Asks a container one probe's question: an HTTP request, a connection, or a command.

Returns what it saw; thresholds are `probe_state`'s. The request leaves from the node's own address, as the kubelet's does.
Reference: kubelet's pkg/probe.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from node.api_client import Object
from node.processes import Result

RunCommand = Callable[[list[str], float], Awaitable[Result]]
USER_AGENT = "kube-probe/1.32"
MOST_OUTPUT = 512  # bytes of an answer quoted in an event


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether the probe succeeded, and if not why, for the event."""

    ok: bool
    text: str = ""


async def ask(
    probe: Mapping[str, Any], container: Object, pod_ip: str, seconds: float, run: RunCommand
) -> Answer:
    """One try of a probe or lifecycle handler, within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await _ask(probe, container, pod_ip, seconds, run)
    except TimeoutError:
        return Answer(False, f"context deadline exceeded after {seconds:g} s")
    except OSError as error:
        return Answer(False, error.strerror or str(error))


async def _ask(
    probe: Mapping[str, Any], container: Object, pod_ip: str, seconds: float, run: RunCommand
) -> Answer:
    if action := probe.get("httpGet"):
        return await _http(action, container, pod_ip)
    if action := probe.get("tcpSocket"):
        port = port_number(action["port"], container)
        _, writer = await asyncio.open_connection(action.get("host") or pod_ip, port)
        writer.close()
        return Answer(True)
    if action := probe.get("exec"):
        result = await run(list(action.get("command") or []), seconds)
        return Answer(result.status == 0, result.output.strip()[:MOST_OUTPUT])
    if action := probe.get("sleep"):
        await asyncio.sleep(float(action.get("seconds") or 0))
        return Answer(True)
    return Answer(False, "gRPC probes need a sidecar, which asks them for the node")


async def _http(action: Mapping[str, Any], container: Object, pod_ip: str) -> Answer:
    host = action.get("host") or pod_ip
    port = port_number(action["port"], container)
    tls = _unverified() if action.get("scheme") == "HTTPS" else None
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        writer.write(_request(action, f"{host}:{port}"))
        line = (await reader.readline()).split(maxsplit=2)
        if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit():
            return Answer(False, "malformed HTTP response")
        status = int(line[1])
        return Answer(200 <= status < 400, f"HTTP probe failed with statuscode: {status}")
    finally:
        writer.close()


def _request(action: Mapping[str, Any], authority: str) -> bytes:
    headers = {"Host": authority, "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    for header in action.get("httpHeaders") or []:
        headers[header["name"]] = header["value"]
    path = action.get("path") or "/"
    lines = [f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def port_number(port: int | str, container: Object) -> int:
    """A port by number or by the name the container gives it; OSError when there is no such name."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise OSError(f"couldn't find port: {port}")


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # as the kubelet: a probe asks whether the app answers, not who it is
    return context
