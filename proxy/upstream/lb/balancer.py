"""From all hosts of a cluster to the one for an attempt: first the priority, then the locality, then the policy's choice.

`GroupBalancer` serves the policies that choose among a group of hosts, `hash_balancer` has what looks a key up. It learns of every
change with `update`, and does the work of it when a request first needs it. Invariant: only hosts of the last update are picked.
Reference: Envoy source/extensions/load_balancing_policies/common/{load_balancer_impl,thread_aware_lb_impl}.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.observability.stats import Counter
from proxy.upstream.host import Host
from proxy.upstream.host_set import HostSet, LocalityHosts
from proxy.upstream.lb.edf import EdfSchedule
from proxy.upstream.lb.interface import Draw, Policy
from proxy.upstream.lb.priority_load import PANIC_THRESHOLD, PriorityLoad, priority_load
from proxy.upstream.lb.retry_priority import PreviousPriorities
from proxy.upstream.lb.slow_start import SlowStart

NO_LOAD = PriorityLoad((100,), (0,), (False,))
KEYS = 2**64


class Balancer:
    """What a cluster asks for a host."""

    __slots__ = ("direct", "draw", "hashes")

    direct: Policy | None
    """Where every request is among the same group of hosts: what chooses there, without any of the rest."""
    draw: Draw
    hashes: bool
    """Whether the key of a request matters."""

    def update(self, sets: Sequence[HostSet]) -> None:
        """The cluster's hosts from now on."""
        raise NotImplementedError

    def pick(self, key: int | None, attempt: int, attempted: PreviousPriorities | None) -> Host | None:
        """The host for an attempt; None: there is none.

        `key` is the hash of the request, `attempt` how many hosts were turned down for it, `attempted` what its
        retry priority keeps count of.
        """
        raise NotImplementedError


class LocalityRule:
    """Whether localities have weights, from what share on a priority panics (percent), and the count of panics."""

    __slots__ = ("panic_threshold", "panics", "weighted")

    def __init__(
        self, panics: Counter, *, weighted: bool = False, panic_threshold: int = PANIC_THRESHOLD
    ) -> None:
        self.panics = panics
        self.weighted = weighted
        self.panic_threshold = panic_threshold


Group = tuple[int, str, int]  # priority, which hosts of it, index of the locality or -1


class GroupBalancer(Balancer):
    """`make_policy` makes the policy of one group; it is kept while hosts come and go, so that turns go on."""

    def __init__(
        self,
        make_policy: Callable[[], Policy],
        draw: Draw,
        rule: LocalityRule,
        slow_start: SlowStart | None = None,
    ) -> None:
        self.direct = None
        self.hashes = False
        self._make_policy = make_policy
        self.draw = draw
        self._rule = rule
        self._slow_start = slow_start
        self._sets: Sequence[HostSet] = ()
        self._load = NO_LOAD
        self._policies: dict[Group, Policy] = {}
        self._current: set[Group] = set()  # those of `_policies` that know of the last update
        self._schedules: dict[tuple[int, bool], EdfSchedule[tuple[int, float]] | None] = {}

    def update(self, sets: Sequence[HostSet]) -> None:
        self._sets = sets
        self._load = priority_load(sets, self._rule.panic_threshold)
        self._current.clear()
        self._schedules.clear()
        if self._slow_start is not None:
            for one in sets:
                self._slow_start.enter(one.healthy)
        self.direct = self._only_policy()

    def _only_policy(self) -> Policy | None:
        """The policy of the one group that gets everything; None when there is more than one, or no host."""
        load = self._load
        if 100 not in load.healthy:
            return None
        priority = load.healthy.index(100)
        localities = self._eligible(priority, degraded=False)
        if load.panic[priority] or len(localities) > 1 or not self._sets[priority].healthy:
            return None
        return self._policy_for(priority, degraded=False, locality=localities[0][0] if localities else -1)

    def pick(self, key: int | None, attempt: int, attempted: PreviousPriorities | None) -> Host | None:
        if not self._sets:
            return None
        load = self._load if attempted is None else attempted.load(self._sets, self._load)
        priority, degraded = load.choose(int(self.draw() * KEYS))
        if load.panic[priority]:
            self._rule.panics.value += 1
            policy = self._policy((priority, "all", -1), self._sets[priority].hosts)
        else:
            policy = self._policy_for(priority, degraded, self._locality(priority, degraded))
        return None if policy is None else policy.pick(self.draw)

    def _policy_for(self, priority: int, degraded: bool, locality: int) -> Policy | None:
        of: HostSet | LocalityHosts = self._sets[priority]
        if locality >= 0:
            of = self._sets[priority].localities[locality]
        hosts = of.degraded if degraded else of.healthy
        return self._policy((priority, "degraded" if degraded else "healthy", locality), hosts)

    def _policy(self, group: Group, hosts: Sequence[Host]) -> Policy | None:
        if not hosts:
            return None
        policy = self._policies.get(group)
        if policy is None:
            policy = self._policies[group] = self._make_policy()
        if group not in self._current:
            self._current.add(group)
            policy.update(hosts)
        return policy

    def _locality(self, priority: int, degraded: bool) -> int:
        """The index of the locality whose turn it is; -1: localities do not matter."""
        if not self._rule.weighted:
            return -1
        if (priority, degraded) not in self._schedules:
            eligible = self._eligible(priority, degraded)
            schedule = EdfSchedule(eligible, lambda entry: entry[1]) if eligible else None
            if schedule is not None:
                schedule.skip(int(self.draw() * len(eligible)))
            self._schedules[priority, degraded] = schedule
        schedule = self._schedules[priority, degraded]
        return -1 if schedule is None else schedule.next()[0]

    def _eligible(self, priority: int, degraded: bool) -> list[tuple[int, float]]:
        """Localities that may get traffic, by index, with their weight lessened by what of them is unavailable."""
        if not self._rule.weighted:
            return []
        one = self._sets[priority]
        found = []
        for index, locality in enumerate(one.localities):
            available = locality.degraded if degraded else locality.healthy
            share = min(1.0, one.overprovisioning / 100.0 * (len(available) / len(locality.hosts)))
            if locality.weight * share > 0:
                found.append((index, locality.weight * share))
        return found
