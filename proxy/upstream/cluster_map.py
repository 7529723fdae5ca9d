"""The clusters of this proxy by name: those in use, and those that come into being when somebody first asks for one.

A dictionary of the first, so that looking one up costs what it costs in any; `find` knows the others, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from proxy.upstream.cluster import Cluster


class ClusterMap(dict[str, Cluster]):
    """`make` makes a cluster that nobody has used yet; None: there is none of this name."""

    def __init__(
        self, built: Mapping[str, Cluster] = {}, make: Callable[[str], Cluster | None] | None = None
    ) -> None:
        super().__init__(built)
        self._make = make

    def find(self, name: str) -> Cluster | None:
        """The cluster of this name, in use from now on."""
        found = self.get(name)
        if found is None and self._make is not None:
            found = self._make(name)
            if found is not None:
                self[name] = found
        return found


def find(clusters: Mapping[str, Cluster], name: str) -> Cluster | None:
    """The cluster of this name, made if nobody has used it yet."""
    return clusters.find(name) if isinstance(clusters, ClusterMap) else clusters.get(name)
