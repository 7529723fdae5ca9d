from __future__ import annotations

import asyncio

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

    def act() -> None:
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
