"""The cache follows the store: everything listed, every change, in order."""

from __future__ import annotations

import asyncio

import pytest

from control.push.proxy import parse_node
from control.registry.auto_registration import AUTO_REGISTERED, AutoRegistration, pod_of
from control.registry.objects import ObjectCache
from control.resources import pod, service
from control.resources.kind import Kind, Object
from control.store.sqlite import SqliteStore


def _service(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ports": []},
    }


async def test_the_cache_follows_the_store() -> None:
    store = SqliteStore(None)
    changed = asyncio.Event()
    seen: list[Kind] = []

    def on_change(kind: Kind) -> None:
        seen.append(kind)
        changed.set()

    await store.create(service.KIND, _service("first"))
    cache = ObjectCache(store, [service.KIND, pod.KIND], on_change)
    task = asyncio.create_task(cache.run())
    await cache.ready.wait()
    assert set(cache.objects(service.KIND)) == {("default", "first")}
    changed.clear()
    await store.create(service.KIND, _service("second"))
    await changed.wait()
    assert set(cache.objects(service.KIND)) == {("default", "first"), ("default", "second")}
    changed.clear()
    await store.delete(service.KIND, "default", "first")
    await changed.wait()
    assert set(cache.objects(service.KIND)) == {("default", "second")}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.close()


NODE = {
    "id": "sidecar~10.1.1.1~web-1.default~default.svc.cluster.local",
    "metadata": {
        "LABELS": {"app": "web"},
        "SERVICE_ACCOUNT": "web",
        "APP_CONTAINERS": "web,log",
        "POD_PORTS": '[{"containerPort":8080,"name":"http"}]',
    },
}


def test_the_pod_of_a_proxy() -> None:
    made = pod_of(parse_node(NODE))
    assert not pod.KIND.validate(made).errors
    assert made["metadata"]["labels"] == {"app": "web"}
    assert made["spec"]["containers"][0]["ports"][0]["containerPort"] == 8080
    assert made["status"]["podIP"] == "10.1.1.1"


async def test_an_unknown_proxy_is_a_pod_while_it_is_connected() -> None:
    store = SqliteStore(None)
    cache = ObjectCache(store, [pod.KIND])
    connected = True
    registration = AutoRegistration(store, cache, lambda _ns, _name: connected)
    proxy = parse_node(NODE)
    await asyncio.gather(registration.arrived(proxy), registration.arrived(proxy))
    found = await store.get(pod.KIND, "default", "web-1")
    assert AUTO_REGISTERED in found["metadata"]["annotations"]
    moved = parse_node({**NODE, "id": NODE["id"].replace("10.1.1.1", "10.1.1.2")})  # type: ignore[attr-defined]
    await registration.arrived(moved)
    assert (await store.get(pod.KIND, "default", "web-1"))["status"]["podIP"] == "10.1.1.2"
    registration.left(proxy)
    await asyncio.gather(*registration._tasks)
    assert (await store.list(pod.KIND))[0]  # another connection stands for it
    connected = False
    registration.left(proxy)
    await asyncio.gather(*registration._tasks)
    assert not (await store.list(pod.KIND))[0]
    store.close()


async def test_pods_somebody_made_are_left_alone() -> None:
    store = SqliteStore(None)
    made = pod_of(parse_node(NODE))
    del made["metadata"]["annotations"]
    await store.create(pod.KIND, made)
    registration = AutoRegistration(store, ObjectCache(store, [pod.KIND]), lambda _ns, _name: False)
    registration.left(parse_node(NODE))
    await asyncio.gather(*registration._tasks)
    assert len((await store.list(pod.KIND))[0]) == 1
    store.close()
