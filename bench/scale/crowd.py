"""A crowd of thin xDS clients, over plaintext or over TLS with a token as sidecars connect: what each is told, and when the last one knew."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
from dataclasses import dataclass
from typing import Any

from bench.children import Child, wait_until
from bench.scale import mesh
from bench.scale.changing import Changing, Figures, medians, ms, summary
from bench.scale.kubectl import is_applied
from bench.sidecars import ENVIRONMENT

_PAUSE = 0.3  # s between changes


async def thin_clients(changing: Changing, count: int, way: str) -> Figures:
    """`way` is `plaintext` or `tls`. `connect` and `first` count from when they begin to connect."""
    thin, say = await _start(changing, count, tls=way == "tls"), changing.say
    many = f"{count} clients over {way}"
    cpu, _ = changing.usage()
    connected = json.loads(await thin.reader.readline())
    begun = connected["begun"]
    figures: Figures = {"connected": count, "connect": _spread(connected["connected"], begun)}
    figures["first"] = await thin.answers(changing, begun, cpu)
    say(f"{many} are connected: {figures['connect']}, and have everything: {figures['first']}")
    await asyncio.sleep(1.0)
    _, figures["control_memory"] = changing.usage()
    changes: dict[str, list[Figures]] = {}
    applies: dict[str, list[Figures]] = {}
    for _ in range(changing.rounds):
        for change in changing.changes():
            cpu, _ = changing.usage()
            since = await changing.write(change)
            changes.setdefault(change.title, []).append(await thin.answers(changing, since, cpu))
            await asyncio.sleep(_PAUSE)
            if changing.kubectl is not None and is_applied(change):
                cpu, _ = changing.usage()
                since, took = await changing.apply(change)
                told = await thin.answers(changing, since, cpu)
                applies.setdefault(change.title, []).append({**told, "kubectl_ms": took})
                await asyncio.sleep(_PAUSE)
    thin.writer.close()
    changing.children.stop(thin.child)
    figures["changes"] = {title: medians(found) for title, found in changes.items()}
    figures["applies"] = {title: medians(found) for title, found in applies.items()}
    figures["write"] = summary(changing.writes)
    for title, found in figures["changes"].items():
        say(f"{title}, {many}: {found}")
    return figures


@dataclass
class Thin:
    """The process of the thin clients, and the way to talk to it."""

    child: Child
    count: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answers(self, changing: Changing, since: float, cpu: float) -> Figures:
        """Until every client has acknowledged once more: when, and what it cost since `cpu`. Raises TimeoutError if one has not."""
        self.writer.write(b"1\n")
        told = json.loads(await self.reader.readline())
        if len(told["acknowledged"]) < self.count:
            known = f"{len(told['acknowledged'])} of {self.count} clients were told of the change"
            raise TimeoutError(f"{known}\n{self.child.tail()}")
        return {
            "answers": len(told["acknowledged"]),
            **_spread(told["acknowledged"], since),
            "bytes_per_client": round(statistics.mean(told["received"])),
            "control_cpu_s": round(changing.usage()[0] - cpu, 2),
        }


def _spread(moments: list[float], since: float) -> Figures:
    times = sorted(ms(at - since) for at in moments)
    return {"p50_ms": times[len(times) // 2], "p99_ms": times[int(len(times) * 0.99)], "max_ms": times[-1]}


async def _start(changing: Changing, count: int, *, tls: bool) -> Thin:
    path, plan = changing.directory / "thin.sock", changing.directory / "thin.json"
    path.unlink(missing_ok=True)
    plan.write_text(json.dumps(await _plan(changing, count, tls)))
    argv = [sys.executable, "-m", "bench.scale.thin", str(plan), str(path)]
    child = changing.children.start("thin", argv, env=ENVIRONMENT)
    wait_until("the thin clients", path.exists, [child])
    return Thin(child, count, *await asyncio.open_unix_connection(path, limit=1 << 26))


async def _plan(changing: Changing, count: int, tls: bool) -> Figures:
    control, clients = changing.control, []
    for number in range(count):
        pod = mesh.pod_of(number % changing.services, changing.endpoints - 1 - number // changing.services)
        token = await changing.api.token(pod.namespace, pod.service_account) if tls else None
        clients.append({"node": _node(pod), "token": token})
    return {
        "port": control.ports["tls" if tls else "plaintext"],
        "root": control.root_certificate if tls else None,
        "clients": clients,
    }


def _node(pod: mesh.Pod) -> dict[str, Any]:
    metadata = {
        "NAME": pod.name,
        "NAMESPACE": pod.namespace,
        "SERVICE_ACCOUNT": pod.service_account,
        "LABELS": {"app": pod.app, "version": "v1"},
    }
    return {"id": pod.node_id, "cluster": pod.app, "metadata": metadata, "user_agent_name": "glassmesh"}
