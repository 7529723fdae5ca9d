"""What TLS adds to a message between `recv` and `send`: calls, copies of a body's byte, and what ten thousand messages leave.

The other budgets run over sockets that hold plaintext. The peer's records are made before anything is counted. OpenSSL's own work is
counted by nobody here.
"""

from __future__ import annotations

import pytest

from proxy.tls.engine import INCOMING, MOST
from tests.unit.proxy import budget_meters
from tests.unit.proxy.leftovers import leftovers
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.net.test_tls_connection import Dialogue
from tests.unit.proxy.tls.engines import sealed

MESSAGE = b"GET /x HTTP/1.1\r\nhost: reviews:9080\r\n\r\n"
BODY = bytes(range(256)) * 4096  # 1 MiB
CALLS = {"read": 4, "write": 10}
# Of each byte: decrypted into one buffer of the process and handed on as an object; encrypted into another, from where it leaves.
COPIES = {"read": 1.01, "write": 0.01}
MESSAGES = 10_000


@pytest.fixture
def dialogue(mesh_ca: MeshCa) -> Dialogue:
    found = Dialogue(mesh_ca)
    found.connection.start()
    for _ in range(4):
        found.say(MESSAGE)
        found.connection.write(MESSAGE)
        found.heard()
    return found


def _records(dialogue: Dialogue, message: bytes) -> list[bytes]:
    """What the peer says, in portions of what one recv gives."""
    made = b"".join(sealed(dialogue.peer, message[at : at + MOST]) for at in range(0, len(message), MOST))
    return [made[at : at + len(INCOMING)] for at in range(0, len(made), len(INCOMING))]


def test_calls_per_message(dialogue: Dialogue) -> None:
    dialogue.sock.incoming += _records(dialogue, MESSAGE)
    found = {
        "read": budget_meters.calls(dialogue.sock.readable),
        "write": budget_meters.calls(lambda: dialogue.connection.write(MESSAGE)),
    }
    assert dialogue.owner.data.endswith(MESSAGE)
    assert dialogue.heard() == MESSAGE
    for direction, called in found.items():
        assert called.total() <= CALLS[direction], f"{direction}: {dict(called)}"


@pytest.mark.parametrize("direction", COPIES)
def test_copies_of_a_body_byte(direction: str, dialogue: Dialogue) -> None:
    if direction == "read":
        dialogue.sock.incoming += _records(dialogue, BODY)
        found = budget_meters.large_allocations(dialogue.sock.readable, least=4096)
        assert dialogue.owner.data.endswith(BODY)
    else:
        found = budget_meters.large_allocations(lambda: dialogue.connection.write(BODY), least=4096)
        assert dialogue.heard() == BODY
    times = {place: round(count / len(BODY), 2) for place, count in found.most_common()}
    assert found.total() <= COPIES[direction] * len(BODY), times


def test_nothing_is_left_of_ten_thousand_messages(dialogue: Dialogue) -> None:
    def run(count: int) -> None:
        for _ in range(count):
            dialogue.say(MESSAGE)
            dialogue.connection.write(MESSAGE)
            assert dialogue.heard() == dialogue.owner.data == MESSAGE
            dialogue.owner.data.clear()

    dialogue.owner.data.clear()
    leftovers(run, MESSAGES).check()
