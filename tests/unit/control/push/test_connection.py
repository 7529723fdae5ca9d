from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from control.push.connection import Connection, Exchange
from control.push.debounce import Debounce
from control.push.proxy import BadNode, Proxy, parse_node
from control.push.snapshot import Snapshot


def test_the_states_of_an_exchange() -> None:
    exchange = Exchange()
    assert exchange.state == "NOT SENT"
    exchange.request("", None, 1)
    exchange.answer("v1", 2)
    assert exchange.state == "STALE"
    exchange.request("v1", None, 3)
    assert (exchange.state, exchange.at) == ("SYNCED", 3)
    exchange.answer("v2", 4)
    exchange.request("v1", "no", 5)
    assert (exchange.state, exchange.error) == ("ERROR", "no")
    exchange.answer("v3", 6)
    exchange.request("v3", None, 7)
    assert (exchange.state, exchange.error) == ("SYNCED", "")


async def test_replacing_a_snapshot_wakes_every_poll() -> None:
    proxy = Proxy("id", "sidecar", "", "a", "b", {}, "", False, {})
    connection = Connection(proxy, Snapshot((), "1"), 0, 0)
    waiting = [asyncio.create_task(connection.wait(5)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not connection.replace(Snapshot((), "1"))
    assert connection.replace(Snapshot((), "2"))
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert not await connection.wait(0.01)


async def test_changes_are_merged_until_they_pause() -> None:
    fired: list[float] = []
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def act() -> None:
        fired.append(loop.time())
        done.set()

    debounce = Debounce(act, quiet=0.02, limit=0.05)
    begun = loop.time()
    while not fired:  # without a pause the limit ends it
        debounce.poke()
        await asyncio.sleep(0.005)
    assert len(fired) == 1
    assert 0.04 < fired[0] - begun < 0.5
    done.clear()
    debounce.poke()
    await done.wait()
    assert len(fired) == 2
    debounce.poke()
    debounce.cancel()


async def test_what_changes_during_a_push_waits_for_its_end() -> None:
    acting, most, begun = 0, 0, 0
    go_on = asyncio.Event()

    async def act() -> None:
        nonlocal acting, most, begun
        begun += 1
        acting += 1
        most = max(most, acting)
        await go_on.wait()
        acting -= 1
        if begun == 1:
            raise RuntimeError("a push that failed is no reason to make none")

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    debounce = Debounce(act, quiet=0.001, limit=0.01)
    debounce.poke()
    await _until(lambda: begun == 1)
    for _ in range(3):
        debounce.poke()
        await asyncio.sleep(0.005)
    assert begun == 1
    go_on.set()
    await _until(lambda: begun == 2 and not acting)
    await asyncio.sleep(0.02)
    assert (begun, most) == (2, 1)


async def test_a_push_can_be_cancelled_with_what_was_to_follow() -> None:
    begun = 0

    async def act() -> None:
        nonlocal begun
        begun += 1
        await asyncio.Event().wait()

    debounce = Debounce(act, quiet=0.001, limit=0.01)
    debounce.poke()
    await _until(lambda: begun == 1)
    debounce.poke()
    await asyncio.sleep(0.005)
    debounce.cancel()
    await asyncio.sleep(0.02)
    assert begun == 1


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


def test_a_node() -> None:
    proxy = parse_node(
        {
            "id": "sidecar~10.0.0.1~web.x~x.svc.cluster.local",
            "user_agent_name": "envoy",
            "metadata": {"NAMESPACE": "x", "LABELS": {"a": "b"}, "SERVICE_ACCOUNT": "sa"},
        }
    )
    assert (proxy.name, proxy.namespace, proxy.ip, proxy.vanilla) == ("web", "x", "10.0.0.1", True)
    assert (proxy.labels, proxy.service_account, proxy.kind) == ({"a": "b"}, "sa", "sidecar")


@pytest.mark.parametrize("node", [None, {}, {"id": "x"}, {"id": "waypoint~1~a.b~c"}, {"id": 3}])
def test_what_is_no_node(node: object) -> None:
    with pytest.raises(BadNode):
        parse_node(node)
