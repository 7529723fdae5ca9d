"""A sidecar of two workers: the leading one runs in the test, the other is a process of its own."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.ports import free_ports
from proxy import bootstrap
from proxy.agent import environment
from proxy.server import Sidecar
from proxy.workers import process, shared_memory
from proxy.workers import team as team_module
from proxy.workers.messages import Commit
from proxy.workers.process import Place
from proxy.workers.team import Team
from proxy.workers.worker import Start
from tests.unit.proxy.control_plane import ControlPlane, pod_environment, running
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.test_server import ID, T, app, cluster, get, listener, ready, until

COMMAND = [sys.executable, "-m", "proxy", "sidecar"]
REQUESTS = 24  # all on one worker once in 2^23 runs


EVERYTHING = {"proxyStatsMatcher": {"inclusionPrefixes": ["http", "cluster"]}}
RQ = "http.inbound_0.0.0.0_80.downstream_rq_total"
SDS = {"api_config_source": {"api_type": "REST", "cluster_names": ["xds-rest"]}}
TLS = {
    "name": "tls",
    "typed_config": {
        "@type": T + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": SDS}]
        },
    },
}


@asynccontextmanager
async def sidecar(
    plane: ControlPlane,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    hinders: Callable[[], bool] = lambda: False,
) -> AsyncIterator[tuple[Sidecar, Team]]:
    """The leading worker here, and another one; `hinders` may keep another from being started. Every stat is registered."""

    def begin(number: int) -> process.Process:
        if hinders():
            raise OSError(errno.EAGAIN, "not yet")
        return process.begin(COMMAND, Place(number, 2, memory))

    pod = pod_environment(plane, directory)
    pod["PROXY_CONFIG"] = json.dumps({**json.loads(pod["PROXY_CONFIG"]), **EVERYTHING})
    for name, value in pod.items():
        monkeypatch.setenv(name, value)
    start = Start(bootstrap.from_environment(environment.read("sidecar", pod)), 1.0)
    memory = shared_memory.create(2)
    first = process.begin(COMMAND, Place(1, 2, memory))
    team = Team(start, memory, [first], begin)
    proxy = Sidecar(start.bootstrap, team=team)
    task = asyncio.create_task(proxy.run())
    try:
        async with asyncio.timeout(10):
            while "stats" not in proxy.addresses and not task.done():
                await asyncio.sleep(0.005)
        yield proxy, team
    finally:
        pids = team.pids
        proxy.stop()
        assert await task == 0
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


async def requests(proxy: Sidecar, count: int = REQUESTS) -> None:
    """Each on a connection of its own."""
    address = proxy.bound_address("in")
    for _ in range(count):
        assert await get(address, "/") == (200, "ok")


async def merged(proxy: Sidecar, name: str) -> int:
    _, text = await get(proxy.addresses["admin"], f"/stats?filter=^{name}$")
    return int(text.rpartition(": ")[2])


async def counted_by_the_other(team: Team) -> int:
    """Nothing, while it is still starting."""
    answers = await team.ask(hosts=False)
    return sum(answer.stats.counters.get(RQ, 0) for answer in answers if answer.stats is not None)


async def test_both_serve_and_are_counted_together(
    mesh_ca: MeshCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hindered, sent = False, 0
    async with (
        app() as port,
        running(mesh_ca, ID, tmp_path) as plane,
        sidecar(plane, tmp_path, monkeypatch, lambda: hindered) as (proxy, team),
    ):
        plane.push(clusters=[cluster(port)], listeners=[listener()])
        await until(lambda: ready(proxy))
        await requests(proxy)
        assert 0 < await counted_by_the_other(team) < REQUESTS
        assert await merged(proxy, RQ) == REQUESTS
        assert await merged(proxy, "server.concurrency") == 2
        assert await merged(proxy, "cluster.app.membership_total") == 1
        assert await merged(proxy, "server.memory_allocated") > 30_000_000
        _, hosts = await get(proxy.addresses["admin"], "/clusters")
        assert f"app::127.0.0.1:{port}::rq_total::{REQUESTS}\n" in hosts
        _, text = await get(proxy.addresses["stats"], "/stats/prometheus")
        lines = text.splitlines()
        assert sum(line.startswith("istio_build{") for line in lines) == 1
        [total] = [line for line in lines if line.startswith("envoy_http_downstream_rq_total{")]
        assert total.endswith(f" {REQUESTS}")

        # One that is killed is replaced; what it had counted is not lost, and the leader serves what is for it meanwhile.
        [pid] = team.pids
        hindered = True
        os.kill(pid, signal.SIGKILL)

        async def dead() -> bool:
            return pid not in team.pids

        async def both_serve() -> bool:
            nonlocal sent
            await requests(proxy, 1)
            sent += 1
            return bool(team.pids) and await counted_by_the_other(team) > 0

        await until(dead)
        await requests(proxy)
        assert team.pids == []
        assert await merged(proxy, RQ) == 2 * REQUESTS
        hindered, sent = False, 2 * REQUESTS
        await until(both_serve)
        assert await merged(proxy, RQ) == sent

        await get(proxy.addresses["admin"], "/reset_counters", "POST")
        await requests(proxy, 4)
        assert await merged(proxy, RQ) == 4


async def test_what_a_killed_worker_counted_is_kept_though_nobody_looked(
    mesh_ca: MeshCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team_module, "REPORT_EVERY_SECONDS", 0.02)
    async with (
        app() as port,
        running(mesh_ca, ID, tmp_path) as plane,
        sidecar(plane, tmp_path, monkeypatch) as (proxy, team),
    ):
        plane.push(clusters=[cluster(port)], listeners=[listener()])
        await until(lambda: ready(proxy))
        await requests(proxy)
        own = team.leader.stats.counter(RQ).value
        [member] = team._members

        async def told() -> bool:
            return own + member.last.counters.get(RQ, 0) == REQUESTS

        await until(told)
        os.kill(member.process.pid, signal.SIGKILL)

        async def gone() -> bool:
            return member.ended

        await until(gone)
        assert await merged(proxy, RQ) == REQUESTS


async def test_a_push_reaches_all_or_none(
    mesh_ca: MeshCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        app() as port,
        running(mesh_ca, ID, tmp_path) as plane,
        sidecar(plane, tmp_path, monkeypatch) as (proxy, team),
    ):
        plane.push(clusters=[cluster(port)], listeners=[listener()])
        await until(lambda: ready(proxy))
        accepted = str(plane.version)

        async def refused() -> bool:
            return "error_detail" in plane.asked[-1][1]

        # A file that only this process has open: the other one cannot write to it.
        only_here = 900
        os.dup2(1, only_here)
        plane.push(listeners=[listener(access_log=[file_log(f"/proc/self/fd/{only_here}")])])
        await until(refused)
        os.close(only_here)
        told = plane.asked[-1][1]
        assert f"unable to open file '/proc/self/fd/{only_here}'" in told["error_detail"]["message"]
        assert told["version_info"] == accepted
        assert team.leader.configuration.version == accepted
        await requests(proxy)

        # One that is stuck holds nobody up for ever: another takes its place, with what the others have.
        [stuck] = team.pids
        os.kill(stuck, signal.SIGSTOP)
        monkeypatch.setattr("proxy.workers.team.ANSWER_SECONDS", 0.2)
        plane.push(clusters=[], listeners=[])

        async def gone() -> bool:
            return (await get(proxy.addresses["admin"], "/listeners"))[1] == ""

        async def has_what_the_leader_has() -> bool:
            answers = await team.ask(hosts=True)
            return team.pids != [stuck] and [answer.hosts for answer in answers] == [{}]

        await until(gone)
        monkeypatch.setattr("proxy.workers.team.ANSWER_SECONDS", 30.0)
        assert plane.version > int(accepted)
        await until(has_what_the_leader_has)


async def test_listeners_that_come_back_and_a_worker_that_ends_during_a_push(
    mesh_ca: MeshCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hindered = False
    async with (
        app() as port,
        running(mesh_ca, ID, tmp_path) as plane,
        sidecar(plane, tmp_path, monkeypatch, lambda: hindered) as (proxy, team),
    ):
        runtimes = team.leader.data_plane.listeners

        async def push(*addresses: str) -> None:
            listeners = [listener()] if addresses else []
            for address in addresses[1:]:
                listeners.append(listener(name=address))
                listeners[-1]["address"]["socket_address"]["address"] = address
            plane.push(clusters=[cluster(port)], listeners=listeners)

            async def taken() -> bool:
                return len(runtimes.listeners) == len(addresses)

            await until(taken)

        await push("127.0.0.1")
        await until(lambda: ready(proxy))
        await push()
        monkeypatch.setattr("proxy.workers.team._UNTAKEN", 2)
        await push("127.0.0.1", "127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.1.4")
        async with asyncio.timeout(5):
            await requests(proxy)

        # Nobody waits for the answer of one that is gone.
        [pid], [member] = team.pids, team._members
        hindered = True
        os.kill(pid, signal.SIGKILL)
        await member.until_ended()
        async with asyncio.timeout(5):
            assert await member.ask(Commit, 30.0) is None
            await team._commit(member)
        # What is new meanwhile the leader serves for it as well.
        await push()
        await push("127.0.0.1")
        async with asyncio.timeout(5):
            await requests(proxy)


async def test_a_host_that_one_ejects_is_ejected_by_all(
    mesh_ca: MeshCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        await closed(writer)

    async with (
        await asyncio.start_server(fail, "127.0.0.1", 0) as failing,
        running(mesh_ca, ID, tmp_path) as plane,
        sidecar(plane, tmp_path, monkeypatch) as (proxy, team),
    ):
        backend = cluster(failing.sockets[0].getsockname()[1])
        backend["outlier_detection"] = {"consecutive_5xx": 3, "max_ejection_percent": 100}
        plane.push(clusters=[backend], listeners=[listener()])
        await until(lambda: ready(proxy))

        async def ejected() -> list[bool]:
            [own] = team.leader.configuration.cluster_statuses()
            [answer] = await team.ask(hosts=True)
            return [host.ejected for host in (*own.hosts, *answer.hosts["app"])]

        async def all_did() -> bool:
            return all(await ejected())

        for _ in range(3):  # in a row, whoever serves them
            assert not any(await ejected())
            await get(proxy.bound_address("in"), "/")
        await until(all_did)
        prefix = "cluster.app.outlier_detection.ejections_"
        assert await merged(proxy, prefix + "enforced_total") == 1
        assert await merged(proxy, prefix + "active") == 1
        assert await merged(proxy, "cluster.app.membership_healthy") == 0
        assert "/failed_outlier_check" in (await get(proxy.addresses["admin"], "/clusters"))[1]


def file_log(path: str) -> dict[str, Any]:
    typed = {"@type": T + "envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": path}
    return {"name": "file", "typed_config": typed}


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def serials(address: tuple[str, int]) -> set[bytes]:
    """Of the certificates that connections are shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    found = set[bytes]()
    for _ in range(REQUESTS):
        _, writer = await asyncio.open_connection(*address, ssl=context)
        found.add(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        await closed(writer)
    return found


async def test_a_renewed_certificate_is_shown_by_all(
    mesh_ca: MeshCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        app() as port,
        running(mesh_ca, ID, tmp_path) as plane,
        sidecar(plane, tmp_path, monkeypatch) as (proxy, team),
    ):
        secure = listener()
        secure["filter_chains"][0]["transport_socket"] = TLS
        plane.push(clusters=[cluster(port)], listeners=[secure])
        await until(lambda: ready(proxy))
        address = proxy.bound_address("in")
        [first] = await serials(address)
        team.leader.secrets.set_certificate("default", *mesh_ca.issue(ID))
        await team.ask(hosts=False)  # it does one thing after another
        [second] = await serials(address)
        assert first != second


@asynccontextmanager
async def slow_app(release: asyncio.Event, arrived: list[int]) -> AsyncIterator[int]:
    """Answers 200 `ok` once `release` is set, and tells what arrived before."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(
            asyncio.IncompleteReadError
        ):  # a connection may be made for a request that is refused then
            await reader.readuntil(b"\r\n\r\n")
            arrived.append(1)
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        await closed(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def command(directory: Path, served: dict[str, Any], backend: dict[str, Any]) -> AsyncIterator[Command]:
    """`python -m proxy -c FILE --concurrency 2`, serving."""
    address = ("127.0.0.1", free_ports(1)[0])
    served["address"]["socket_address"]["port_value"] = address[1]
    for resource in (served, backend):
        del resource["@type"]
    static = {"listeners": [served], "clusters": [backend]}
    (directory / "bootstrap.json").write_text(json.dumps({"static_resources": static}))
    arguments = ["-m", "proxy", "-c", str(directory / "bootstrap.json"), "--concurrency", "2"]
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.PIPE)
    assert child.stderr is not None
    try:
        assert b"all clusters and listeners initialized" in await child.stderr.readline()
        assert len(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()) == 1
        yield Command(child, address)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


class Command(NamedTuple):
    process: asyncio.subprocess.Process
    address: tuple[str, int]


def manager(served: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = served["filter_chains"][0]["filters"][0]["typed_config"]
    return found


async def test_a_drain_with_requests_in_flight_in_each(tmp_path: Path) -> None:
    release, arrived, log = asyncio.Event(), list[int](), tmp_path / "access.log"
    served = listener()
    manager(served)["access_log"] = [file_log(str(log))]
    async with (
        slow_app(release, arrived) as port,
        command(tmp_path, served, cluster(port)) as (child, address),
    ):
        answers = [asyncio.create_task(get(address, f"/{i}")) for i in range(REQUESTS)]

        async def all_in_flight() -> bool:
            return len(arrived) == REQUESTS

        async def refused() -> bool:
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                return True
            await closed(writer)
            return False

        await until(all_in_flight)
        child.terminate()
        await until(refused)
        release.set()
        assert await asyncio.gather(*answers) == [(200, "ok")] * REQUESTS
        async with asyncio.timeout(5):
            assert await child.wait() == 0
    paths = [line.split()[2] for line in log.read_text().splitlines()]
    assert sorted(paths) == sorted(f"/{i}" for i in range(REQUESTS))


async def test_limits_are_those_of_all_workers_together(tmp_path: Path) -> None:
    release, arrived = asyncio.Event(), list[int]()
    served, backend = listener(), cluster(0)
    limit = {"stat_prefix": "l", "token_bucket": {"max_tokens": 6, "fill_interval": "3600s"}}
    always = {"default_value": {"numerator": 100}}
    name, kind = (
        "envoy.filters.http.local_ratelimit",
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    )
    limit |= {"@type": f"{T}envoy.{kind}", "filter_enabled": always, "filter_enforced": always}
    limited = {
        "match": {"path": "/limited"},
        "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
        "typed_per_filter_config": {name: limit},
    }
    manager(served)["route_config"]["virtual_hosts"][0]["routes"].insert(0, limited)
    manager(served)["http_filters"].insert(0, {"name": name, "typed_config": {**limit, "token_bucket": None}})
    backend["circuit_breakers"] = {"thresholds": [{"max_requests": 5}]}
    async with slow_app(release, arrived) as port:
        [locality] = backend["load_assignment"]["endpoints"]
        locality["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = port
        async with command(tmp_path, served, backend) as (_, address):
            statuses = [(await get(address, "/limited"))[0] for _ in range(REQUESTS)]
            assert statuses == [200] * 6 + [429] * (REQUESTS - 6)

            answers: list[asyncio.Task[tuple[int, str]]] = []
            for _ in range(REQUESTS):
                answers.append(asyncio.create_task(get(address, "/")))

                async def settled() -> bool:
                    return len(arrived) + sum(answer.done() for answer in answers) == len(answers)

                await until(settled)
            assert len(arrived) == 5
            release.set()
            statuses = [status for status, _ in await asyncio.gather(*answers)]
            assert statuses == [200] * 5 + [503] * (REQUESTS - 5)


def test_one_worker_alone_imports_nothing_of_this() -> None:
    """Memory: most sidecars have one."""
    program = (
        "import sys, proxy.__main__, proxy.server\n"
        "names = 'team follower process channel merging shared_memory listening_sockets'.split()\n"
        "print([name for name in names if f'proxy.workers.{name}' in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
