"""Outcomes are kept as long as what they were made from is the same, and no longer."""

from __future__ import annotations

import asyncio

from control.compile.part import Part
from control.compile.protobuf import CLUSTER, ENDPOINT
from control.compile.resource import Resource, resource
from control.push.connection import Connection
from control.push.difference import difference
from control.push.kept import Kept
from control.push.proxy import Proxy
from control.push.snapshot import Snapshot


def test_made_again_only_for_other_sources() -> None:
    kept, made = Kept(), []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    one, other = object(), object()
    assert [kept.get("k", (one,), make) for _ in range(3)] == [0, 0, 0]
    assert kept.get("k", (other,), make) == 1
    assert kept.get("k", (one,), make) == 2
    assert kept.get("l", (one,), make) == 3


def test_what_no_push_asks_for_any_more_is_forgotten() -> None:
    kept = Kept(lasting=False)
    for keys in ("abc", "bc", ""):
        for key in keys:
            kept.get(key, (), str)
        kept.pushed()
        assert [*kept._entries] == [*keys]


def test_what_lasts_is_forgotten_when_there_is_more_than_ever_was_in_use() -> None:
    kept = Kept(spare=1)
    for push in range(100):
        for name in ("one", "other") if push % 2 else ():
            kept.get(name, (), str)
        kept.get(push, (), str)
        kept.pushed()
        assert len(kept._entries) <= 2 * 3 + 1
    assert {"one", "other"} <= kept._entries.keys()


def _cluster(name: str, value: int) -> Resource:
    return resource({"@type": CLUSTER, "name": name, "value": value})


def _endpoints(name: str, value: int) -> Resource:
    return resource({"@type": ENDPOINT, "cluster_name": name, "value": value})


def _part(url: str, *resources: Resource) -> Part:
    return Part({url: {one.name: one for one in resources}})


def test_what_proxies_share_is_compared_once() -> None:
    old, new = _part(CLUSTER, _cluster("a", 0)), _part(CLUSTER, _cluster("a", 1))
    own = _part(ENDPOINT, _endpoints("e", 0))
    first = difference(Snapshot([old, own]), Snapshot([new, own]))
    assert difference(Snapshot([old, own]), Snapshot([new, own])) is first
    assert first.touched == {CLUSTER: {"a"}}
    assert not difference(Snapshot([new, own]), Snapshot([new, own]))


def test_parts_may_be_cut_otherwise() -> None:
    a, b = _cluster("a", 0), _cluster("b", 0)
    whole, cut = Snapshot([_part(CLUSTER, a, b)]), Snapshot([_part(CLUSTER, a), _part(CLUSTER, b)])
    assert not difference(whole, cut)
    assert [one.name for one in cut.select(CLUSTER, ())] == ["a", "b"]


def test_the_version_of_a_selection_is_that_of_its_content() -> None:
    one = Snapshot([_part(ENDPOINT, _endpoints("a", 0), _endpoints("b", 0))])
    two = Snapshot([_part(ENDPOINT, _endpoints("a", 0), _endpoints("b", 1))])
    assert one.version_of(ENDPOINT, ["a"]) == two.version_of(ENDPOINT, ["a"])
    assert one.version_of(ENDPOINT, ["b"]) != two.version_of(ENDPOINT, ["b"])
    assert one.version_of(ENDPOINT, ()) != two.version_of(ENDPOINT, ())


async def test_a_poll_sleeps_through_what_does_not_concern_it() -> None:
    proxy = Proxy("id", "sidecar", "", "a", "b", {}, "", True, {})
    shared = _part(CLUSTER, _cluster("c", 0))
    connection = Connection(
        proxy, Snapshot([shared, _part(ENDPOINT, _endpoints("a", 0), _endpoints("b", 0))]), 0, 0
    )
    polls = {
        name: asyncio.create_task(connection.wait(0.2, *asked))
        for name, asked in {
            "a": (ENDPOINT, ["a"]),
            "b": (ENDPOINT, ["b"]),
            "endpoints": (ENDPOINT, []),
            "clusters": (CLUSTER, []),
            "everything": (),
        }.items()
    }  # fmt: skip
    await asyncio.sleep(0)
    assert connection.replace(Snapshot([shared, _part(ENDPOINT, _endpoints("a", 0), _endpoints("b", 1))]))
    woken = {name: await task for name, task in polls.items()}
    assert woken == {"a": False, "b": True, "endpoints": True, "clusters": False, "everything": True}
