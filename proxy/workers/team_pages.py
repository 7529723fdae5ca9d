"""Admin pages of a sidecar with several workers: the same pages, over what all of them count, and changes that reach all.

Decides which pages need the others; renders nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from proxy.admin import pages
from proxy.admin.clusters import ClusterStatus
from proxy.admin.host_status import HostStatus
from proxy.admin.http_server import Request, Response
from proxy.admin.pages import Admin
from proxy.workers.merging import merged_hosts
from proxy.workers.messages import Answer

if TYPE_CHECKING:
    from proxy.workers.team import Team

_STATS = ("/stats", "/stats/prometheus")


class TeamPages:
    """The pages of `team`'s sidecar."""

    def __init__(self, team: Team) -> None:
        self._team = team

    async def answer(self, admin: Admin, request: Request) -> Response:
        """The response to one admin request."""
        team = self._team
        if request.path in _STATS:
            admin = replace(admin, stats=await team.stats())
        elif request.path == "/clusters":
            admin = replace(
                admin, clusters=_clusters(admin.clusters, await team.ask(hosts=True), team.ended_hosts)
            )
        elif request.path == "/memory":
            resident = (await team.stats()).gauge("server.memory_allocated").value
            admin = replace(admin, memory=lambda: resident)
        response = pages.answer(admin, request)
        if response.status == 200 and request.path == "/reset_counters":
            team.reset_counters()
        elif response.status == 200 and request.path == "/logging":
            team.levels_changed()
        return response


def _clusters(
    own: Callable[[], Iterable[ClusterStatus]],
    answers: list[Answer],
    ended: Mapping[str, list[HostStatus]],
) -> Callable[[], Iterable[ClusterStatus]]:
    def merged() -> Iterable[ClusterStatus]:
        for status in own():
            others = (answer.hosts.get(status.name, ()) for answer in answers)
            yield replace(status, hosts=merged_hosts((status.hosts, *others), ended.get(status.name, ())))

    return merged
