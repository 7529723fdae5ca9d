"""Messages and descriptors between two ends."""

from __future__ import annotations

import os

from proxy.workers import channel
from proxy.workers.channel import Channel
from proxy.workers.messages import Ask, Certificate, Commit, Listen, Order, Prepare


async def test_messages_arrive_in_order_and_then_the_end() -> None:
    ours, theirs = channel.pair()
    talker, listener = await Channel[Order].open(ours, Order), await Channel[Order].open(theirs, Order)
    large = Prepare(1, "v", {"type": [("name", bytes(3_000_000), "v", 1.0)]}, {"type": ["gone"]})
    said = [Ask(7), large, Commit(2), Certificate("default", "chain", "key", "")]
    for message in said:
        talker.send(message)
    assert [await listener.receive() for _ in said] == said
    talker.close()
    assert await listener.receive() is None
    listener.send(Ask(8))  # nobody hears it
    listener.close()


async def test_descriptors_come_as_announced() -> None:
    ours, theirs = channel.pair()
    talker, listener = await Channel[Order].open(ours, Order), await Channel[Order].open(theirs, Order)
    pipes = [os.pipe() for _ in range(3)]
    for port, (reading, _) in enumerate(pipes):
        talker.send_descriptor(reading)
        talker.send(Listen("127.0.0.1", port))
    for port, (_, writing) in enumerate(pipes):
        assert await listener.receive() == Listen("127.0.0.1", port)
        os.write(writing, b"%d" % port)
        taken = listener.take_descriptor()
        assert os.read(taken, 9) == b"%d" % port
        os.close(taken)
    talker.close()
    listener.close()
    for pipe in pipes:
        for number in pipe:
            os.close(number)


def test_a_key_is_not_printed() -> None:
    assert "secret" not in repr(Certificate("default", "chain", "secret", ""))
