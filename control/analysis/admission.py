"""Analyzers at apply: what they say of an object goes to the client as warnings, and the object is stored all the same.

Invariant: an analyzer that fails breaks no write; it is logged.
"""

from __future__ import annotations

import logging

from control.analysis.index import Indexes
from control.analysis.run import at_apply, needed_at_apply
from control.analysis.snapshot import Snapshot, full_name
from control.api.admission import Review
from control.mesh_config import MeshConfig
from control.resources.kind import Object, Verdict

log = logging.getLogger(__name__)


class ApplyWarnings:
    """A validator of the API server that never refuses. A write of the status is nobody's to be warned."""

    def __init__(self, mesh: MeshConfig) -> None:
        self._domain, self._root = mesh.clusterDomain, mesh.rootNamespace
        self._indexes = Indexes(self._domain)

    async def check(self, review: Review) -> Verdict:
        kinds = needed_at_apply(review.kind)
        if not kinds or (review.old is not None and review.old.get("status") != review.object.get("status")):
            return Verdict()
        try:
            objects = {kind.resource: (await review.reader.list(kind))[0] for kind in kinds}
            objects[review.kind.resource] = _with(review, objects[review.kind.resource])
            snapshot = Snapshot(
                objects, domain=self._domain, root_namespace=self._root, indexes=self._indexes
            )
            return Verdict((), tuple(m.warning() for m in at_apply(review.kind, review.object, snapshot)))
        except Exception:  # a composition root of its own: what analyzers get wrong must not stop a write
            log.exception("analysis of %s %s failed", review.kind.kind, review.object["metadata"].get("name"))
            return Verdict()


def _with(review: Review, stored: list[Object]) -> list[Object]:
    """The objects as they will be. The old one is the store's own, unless another writer has just replaced it."""
    others = [obj for obj in stored if obj is not review.old]
    if review.old is not None and len(others) == len(stored):
        name = full_name(review.object)
        others = [obj for obj in stored if full_name(obj) != name]
    return [*others, review.object]
