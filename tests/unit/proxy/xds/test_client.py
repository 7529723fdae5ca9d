"""The aggregated xDS dialogue: ACK, NACK, difference and full, a control plane that goes away."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.config.decode import CLUSTER, LISTENER
from proxy.observability.stats import StatsStore
from proxy.xds.client import XdsClient
from proxy.xds.http_client import HttpClient, HttpError, Response
from proxy.xds.resources import Resources


class ScriptedHttp(HttpClient):
    """Answers from a list and remembers what was asked."""

    def __init__(self, *answers: Response | HttpError) -> None:
        super().__init__("control", 15012)
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def request(self, method: str, path: str, body: bytes = b"", **_: Any) -> Response:
        assert (method, path) == ("POST", "/v3/discovery:aggregated")
        self.asked.append(json.loads(body))
        answer = self.answers.pop(0)
        if isinstance(answer, HttpError):
            raise answer
        return answer


def push(version: str, nonce: str = "n", full: bool = True, **rest: Any) -> Response:
    body = {"version_info": version, "nonce": nonce, "full": full, **rest}
    return Response(200, {}, json.dumps(body).encode())


def of(type_url: str, *names: str) -> dict[str, Any]:
    return {type_url: [{"name": name} for name in names]}


class Applied:
    """Stands in for the managers; refuses a snapshot that has a cluster named `bad`."""

    def __init__(self) -> None:
        self.snapshots: list[tuple[str, list[str]]] = []

    def __call__(self, resources: Resources, version: str) -> None:
        if "bad" in resources[CLUSTER]:
            raise ValueError('clusters["bad"].foo: not implemented')
        self.snapshots.append((version, sorted(resources[CLUSTER])))


async def dialogue(*answers: Response | HttpError) -> tuple[XdsClient, ScriptedHttp, Applied, StatsStore]:
    http, applied, stats = ScriptedHttp(*answers), Applied(), StatsStore()
    client = XdsClient(http, {"id": "sidecar~x"}, applied, stats)
    for _ in range(len(answers)):
        try:
            await client.poll()
        except HttpError:
            pass
    return client, http, applied, stats


def value(stats: StatsStore, name: str) -> int:
    return stats.counter(name).value


async def test_full_then_difference_then_nothing_new() -> None:
    _, http, applied, stats = await dialogue(
        push("1", "n1", resources=of(CLUSTER, "a", "b")),
        push("2", "n2", full=False, resources=of(CLUSTER, "c"), removed_resources={CLUSTER: ["a"]}),
        Response(304, {}, b""),
        push("3", "n3", full=False, resources=of(LISTENER, "l")),
    )
    assert applied.snapshots == [("1", ["a", "b"]), ("2", ["b", "c"]), ("3", ["b", "c"])]
    assert [(a["version_info"], a["response_nonce"]) for a in http.asked] == [
        ("", ""), ("1", "n1"), ("2", "n2"), ("2", "n2"),
    ]  # fmt: skip
    assert http.asked[0]["node"] == {"id": "sidecar~x"}
    assert value(stats, "cluster_manager.cds.update_success") == 2
    assert value(stats, "listener_manager.lds.update_success") == 2
    assert stats.gauge("control_plane.connected_state").value == 1


async def test_a_refused_push_leaves_the_last_good_one_and_says_why_once() -> None:
    client, http, applied, stats = await dialogue(
        push("1", "n1", resources=of(CLUSTER, "a")),
        push("2", "n2", full=False, resources=of(CLUSTER, "bad")),
        Response(304, {}, b""),
        push("3", "n3", full=False, resources=of(CLUSTER, "c")),
    )
    assert applied.snapshots == [("1", ["a"]), ("3", ["a", "c"])]
    nack = http.asked[2]
    assert (nack["version_info"], nack["response_nonce"]) == ("1", "n2")
    assert nack["error_detail"] == {"code": 3, "message": 'clusters["bad"].foo: not implemented'}
    assert "error_detail" not in http.asked[3]
    assert client.version == "3"
    assert value(stats, "cluster_manager.cds.update_rejected") == 1
    assert value(stats, "listener_manager.lds.update_rejected") == 0


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, {}, b"not json"),
        Response(200, {}, b"{}"),
        push("2", resources={"type.googleapis.com/x.Y": [{"name": "a"}]}),
        push("2", resources=of(CLUSTER, "a", "a")),
    ],
)
async def test_an_unreadable_answer_is_refused(answer: Response) -> None:
    client, _, applied, stats = await dialogue(push("1", resources=of(CLUSTER, "a")), answer)
    assert client.version == "1"
    assert len(applied.snapshots) == 1
    assert value(stats, "cluster_manager.cds.update_rejected") == 1


async def test_a_refusal_is_told_even_if_the_next_request_fails() -> None:
    _, http, _, _ = await dialogue(
        push("1", "n1", resources=of(CLUSTER, "bad")), HttpError("gone"), Response(304, {}, b"")
    )
    assert "error_detail" in http.asked[1]
    assert "error_detail" in http.asked[2]


async def test_errors_of_the_control_plane() -> None:
    http = ScriptedHttp(Response(401, {}, b"request authenticate failure\n"))
    with pytest.raises(HttpError, match="control:15012: status 401 request authenticate failure"):
        await XdsClient(http, {}, Applied(), StatsStore()).poll()
