"""Request ids: UUIDs of version 4, each once, in every process that was forked too."""

from __future__ import annotations

import os
import uuid

from proxy.http.request_id import RequestIds, request_ids


def test_every_one_is_a_random_uuid_of_its_own() -> None:
    ids = RequestIds()
    made = [ids.generate().decode() for _ in range(200)]
    assert len(set(made)) == 200
    for one in made:
        parsed = uuid.UUID(one)
        assert (str(parsed), parsed.version, parsed.variant) == (one, 4, uuid.RFC_4122)


def test_a_forked_process_makes_other_ids() -> None:
    request_ids.generate()
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, request_ids.generate())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(ours, 64) != request_ids.generate()
    os.close(ours)
    os.close(theirs)
