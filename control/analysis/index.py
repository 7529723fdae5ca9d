"""Objects by words of theirs (names, hosts), kept from one look to the next: only what changed is read again.

So looking at one object among ten thousand costs little. Invariant: an object never changes; a changed one is another object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from control.push.config import resolve_host
from control.resources.istio_types import MESH_GATEWAY
from control.resources.kind import Object

Words = Callable[[Object], Iterable[str]]


class Index:
    """`words` tells under what an object is found."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._seen: dict[int, tuple[Object, tuple[str, ...]]] = {}
        self._found: dict[str, list[Object]] = {}

    def of(self, objects: Iterable[Object]) -> Mapping[str, list[Object]]:
        """The objects under each word. Holds until the next call."""
        now = {id(obj): obj for obj in objects}
        for gone in self._seen.keys() - now.keys():
            obj, words = self._seen.pop(gone)
            for word in words:
                self._found[word] = [other for other in self._found[word] if other is not obj]
                if not self._found[word]:
                    del self._found[word]
        for new in now.keys() - self._seen.keys():
            words = tuple(dict.fromkeys(self._words(now[new])))
            self._seen[new] = now[new], words
            for word in words:
                self._found.setdefault(word, []).append(now[new])
        return self._found


def _place(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "")


class Indexes:
    """Those that several analyzers ask. `domain` is the cluster's."""

    def __init__(self, domain: str) -> None:
        def resolved(host: str, obj: Object) -> str:
            return resolve_host(host, _place(obj), domain).lower()

        def full_name(obj: Object) -> list[str]:
            return [f"{_place(obj)}/{obj['metadata']['name']}"]

        def mesh_hosts(obj: Object) -> Iterable[str]:
            spec = obj.get("spec") or {}
            if MESH_GATEWAY not in (spec.get("gateways") or (MESH_GATEWAY,)):
                return ()
            return (resolved(host, obj) for host in spec.get("hosts") or ())

        self.services = Index(lambda obj: [f"{obj['metadata']['name']}.{_place(obj)}.svc.{domain}"])
        self.gateways = Index(full_name)
        self.virtual_services = Index(full_name)
        self.mesh_hosts = Index(mesh_hosts)
        self.rule_hosts = Index(lambda obj: [resolved((obj.get("spec") or {})["host"], obj)])
