"""Both forms of xDS: what is answered, what is held, what counts as accepted or refused."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER, ROUTE
from control.push.static import StaticXds

Json = dict[str, Any]


def _cluster(name: str, timeout: str = "1s") -> Json:
    return {"@type": CLUSTER, "name": name, "connect_timeout": timeout}


def _endpoints(name: str, weight: int = 1) -> Json:
    endpoints = [{"load_balancing_weight": weight}]
    return {"@type": ENDPOINT, "cluster_name": name, "endpoints": endpoints}


async def test_everything_then_held_then_304(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a"), _cluster("b")])
    status, answer = await client.post("clusters")
    assert (status, answer["type_url"]) == (200, CLUSTER)
    assert [one["name"] for one in answer["resources"]] == ["a", "b"]
    status, _ = await client.post("clusters", version_info=answer["version_info"])
    assert status == 304
    assert xds.connection("node").status(CLUSTER).state == "SYNCED"


async def test_a_change_answers_the_held_request_at_once(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a")])
    _, first = await client.post("clusters")
    held = asyncio.create_task(client.post("clusters", version_info=first["version_info"]))
    while not xds.connection("node").polls:
        await asyncio.sleep(0)
    xds.set("node", [_cluster("a", "2s")])
    status, second = await held
    assert status == 200
    assert second["resources"][0]["connect_timeout"] == "2s"
    assert second["version_info"] != first["version_info"]


async def test_a_change_of_another_type_or_name_holds_on(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a"), _endpoints("a"), _endpoints("b")])
    _, clusters = await client.post("clusters")
    _, endpoints = await client.post("endpoints", resource_names=["a"])
    assert [one["cluster_name"] for one in endpoints["resources"]] == ["a"]
    held = [
        asyncio.create_task(client.post("clusters", version_info=clusters["version_info"])),
        asyncio.create_task(
            client.post("endpoints", resource_names=["a"], version_info=endpoints["version_info"])
        ),
    ]
    while xds.connection("node").polls < 2:
        await asyncio.sleep(0)
    xds.set("node", [_cluster("a"), _endpoints("a"), _endpoints("b", weight=2)])
    assert [status for status, _ in await asyncio.gather(*held)] == [304, 304]


async def test_a_name_nobody_knows_is_an_empty_answer(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a")])
    status, answer = await client.post("routes", resource_names=["9080"])
    assert (status, answer["resources"]) == (200, [])


async def test_a_refused_version_is_not_sent_again(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a")])
    _, good = await client.post("clusters")
    await client.post("clusters", version_info=good["version_info"])
    xds.set("node", [_cluster("bad")])
    _, bad = await client.post("clusters", version_info=good["version_info"])
    assert bad["resources"][0]["name"] == "bad"
    # Envoy's REST client goes on with the version before, and says no more.
    status, _ = await client.post("clusters", version_info=good["version_info"])
    assert status == 304
    assert xds.connection("node").status(CLUSTER).state == "ERROR"
    xds.set("node", [_cluster("c")])
    status, _ = await client.post("clusters", version_info=good["version_info"])
    assert status == 200


async def test_a_lost_answer_is_sent_again_after_a_while(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a")])
    _, good = await client.post("clusters")
    await client.post("clusters", version_info=good["version_info"])
    xds.set("node", [_cluster("b")])
    await client.post("clusters", version_info=good["version_info"])  # and this answer is lost
    assert (await client.post("clusters", version_info=good["version_info"]))[0] == 304
    status, again = await client.post("clusters", version_info=good["version_info"])
    assert (status, again["resources"][0]["name"]) == (200, "b")
    await client.post("clusters", version_info=again["version_info"])
    assert xds.connection("node").status(CLUSTER).state == "SYNCED"


async def test_a_proxy_that_starts_anew_is_answered(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a")])
    for _ in range(3):
        assert (await client.post("clusters"))[0] == 200


async def test_a_node_nobody_knows_is_refused(xds: StaticXds, client: Any) -> None:
    status, answer = await client.post("clusters")
    assert (status, answer["text"]) == (400, "no resources for node 'node'")
    assert (await client.post("aggregated", node="x"))[0] == 400


async def test_aggregated_sends_all_then_the_difference(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a"), _cluster("b"), _endpoints("a")])
    status, first = await client.post("aggregated", version_info="")
    assert (status, first["full"]) == (200, True)
    assert {url: len(found) for url, found in first["resources"].items()} == {CLUSTER: 2, ENDPOINT: 1}
    xds.set("node", [_cluster("a"), _cluster("c"), _endpoints("a", weight=3)])
    _, second = await client.post(
        "aggregated", version_info=first["version_info"], response_nonce=first["nonce"]
    )
    assert second["full"] is False
    assert [one["name"] for one in second["resources"][CLUSTER]] == ["c"]
    assert second["removed_resources"] == {CLUSTER: ["b"]}
    status, _ = await client.post("aggregated", version_info=second["version_info"])
    assert status == 304
    assert xds.connection("node").status(CLUSTER).state == "SYNCED"


async def test_aggregated_after_a_refusal_starts_from_what_was_accepted(xds: StaticXds, client: Any) -> None:
    xds.set("node", [_cluster("a")])
    _, good = await client.post("aggregated", version_info="")
    xds.set("node", [_cluster("a"), _cluster("bad")])
    _, bad = await client.post("aggregated", version_info=good["version_info"])
    refusal = {"error_detail": {"code": 3, "message": "clusters[bad]: no"}, "response_nonce": bad["nonce"]}
    status, _ = await client.post("aggregated", version_info=good["version_info"], **refusal)
    assert status == 304
    found = xds.connection("node").status(CLUSTER)
    assert (found.state, found.error) == ("ERROR", "clusters[bad]: no")
    xds.set("node", [_cluster("a"), _cluster("mended")])
    _, mended = await client.post("aggregated", version_info=good["version_info"])
    assert mended["full"] is False
    assert [one["name"] for one in mended["resources"][CLUSTER]] == ["mended"]
    assert mended["removed_resources"] == {}


async def test_a_version_of_an_earlier_control_plane_is_known_by_its_content(
    xds: StaticXds, client: Any
) -> None:
    xds.set("node", [_cluster("a")])
    _, first = await client.post("aggregated", version_info="")
    again = StaticXds(hold_seconds=0.05)
    again.set("node", [_cluster("a")])
    await again.start()
    client._base = f"http://127.0.0.1:{again.port}"
    assert (await client.post("aggregated", version_info=first["version_info"]))[0] == 304
    assert again.connection("node").status(CLUSTER).state == "SYNCED"
    status, other = await client.post("aggregated", version_info="unknown")
    assert (status, other["full"]) == (200, True)
    await again.stop()


async def test_both_forms_give_the_same_snapshot(xds: StaticXds, client: Any) -> None:
    """A proxy that follows differences ends up with what state-of-the-world says, whatever happened on the way."""
    chance = random.Random(7)
    held: dict[str, dict[str, Json]] = {}
    version = ""
    kinds = {CLUSTER: "clusters", ENDPOINT: "endpoints", LISTENER: "listeners", ROUTE: "routes"}
    for step in range(12):
        messages: list[Json] = []
        for url in kinds:
            for name in chance.sample("abcdef", chance.randint(1, 6)):
                key = "cluster_name" if url == ENDPOINT else "name"
                messages.append({"@type": url, key: name, "value": chance.randint(0, 2)})
        xds.set("node", messages)
        status, answer = await client.post("aggregated", version_info=version)
        if status == 200:
            if answer["full"]:
                held = {}
            for url, found in answer["resources"].items():
                for one in found:
                    held.setdefault(url, {})[one.get("name") or one["cluster_name"]] = one
            for url, names in answer["removed_resources"].items():
                for name in names:
                    del held[url][name]
            if step % 3 != 2:  # now and then the answer is refused, and what it held forgotten
                version = answer["version_info"]
            else:
                held, version = {}, ""
                continue
        for url, path in kinds.items():
            _, world = await client.post(path)
            names = {one.get("name") or one["cluster_name"]: one for one in world["resources"]}
            assert held.get(url, {}) == names
