"""Which host an attempt goes to, where that takes more than asking the load balancer: a hash, or earlier attempts.

Requests whose cluster does not hash and that were not retried have none of this. Chooses among what the cluster offers;
knows no connection. Reference: Envoy source/common/router/router.cc (`computeHashKey`, `shouldSelectAnotherHost`),
source/common/upstream/load_balancer_impl.cc `chooseHost`, source/extensions/retry/{host,priority}; reference §5.8, §6.2.
"""

from __future__ import annotations

from proxy.router.hash_policy import HashPolicy
from proxy.router.retry import RetryPolicy
from proxy.router.stream import DownstreamStream
from proxy.upstream.cluster import Cluster
from proxy.upstream.host import Host
from proxy.upstream.lb.retry_priority import PreviousPriorities


class HostSelection:
    """One request's. `cookies` are those a hash policy made, for the client to keep."""

    __slots__ = ("_cluster", "_hash", "_policy", "_priorities", "_stream", "_tried", "cookies")

    def __init__(
        self,
        stream: DownstreamStream,
        cluster: Cluster,
        hashed_by: HashPolicy | None,
        policy: RetryPolicy | None,
    ) -> None:
        self._stream = stream
        self._cluster = cluster
        self._hash = hashed_by if cluster.hashes else None
        self._policy = policy
        every = policy.priorities_every if policy is not None else 0
        self._priorities = PreviousPriorities(every) if every else None
        self._tried: list[Host] = []
        self.cookies: list[bytes] = []

    def attempted(self, host: Host) -> None:
        """An attempt at this host is to be followed by another."""
        if self._policy is not None and self._policy.avoid_previous_hosts:
            self._tried.append(host)
        if self._priorities is not None:
            self._priorities.attempted(host)

    def pick(self) -> Host | None:
        """None: no healthy upstream. A host tried before is taken only if the balancer insists."""
        stream, cluster, policy = self._stream, self._cluster, self._policy
        if self._hash is not None:
            stream.hash_key = self._hash.key(stream, self.cookies)
        host = cluster.pick(stream, 0, self._priorities)
        for turned_down in range(policy.host_selection_attempts if policy and self._tried else 0):
            if host is None or host not in self._tried:
                break
            host = cluster.pick(stream, turned_down + 1, self._priorities)
        return host
