"""Starting and ending the processes of the other workers.

The first ones are forked when everything is imported and nothing runs yet, so that they share its memory. One that takes the
place of a worker that ended is a new program: a process with an event loop, threads and TLS state is not to be forked.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from proxy.workers import channel
from proxy.workers.channel import Ends

OPTION = "--worker"
"""Of the command line of a worker started anew: the descriptor numbers of its two sockets, and its place."""


@dataclass(frozen=True, slots=True)
class Process:
    """One worker's process, and the leader's side of its sockets."""

    pid: int
    ends: Ends

    def end(self) -> int:
        """Make sure it is gone; its status as `os.waitpid` tells it. Waits no longer than the kernel needs to kill it."""
        os.kill(self.pid, signal.SIGKILL)  # harmless where it has ended already: it was not waited for yet
        return os.waitpid(self.pid, 0)[1]


@dataclass(frozen=True, slots=True)
class Place:
    """One worker's among all: the leader is number 0. `memory` is the descriptor of what they share."""

    number: int
    workers: int
    memory: int

    def __str__(self) -> str:
        return f"{self.number},{self.workers},{self.memory}"


def fork(workers: int, memory: int, serve: Callable[[Place, Ends], int]) -> list[Process]:
    """Start the others of so many workers, each running `serve` and nothing else of this program."""
    gc.collect()
    gc.freeze()
    started: list[Process] = []
    for number in range(1, workers):
        ours, theirs = channel.pair()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _serve_alone(
                partial(serve, Place(number, workers, memory), theirs),
                [ours, *(process.ends for process in started)],
            )
        theirs.close()
        started.append(Process(pid, ours))
    return started


def _serve_alone(serve: Callable[[], int], others: Sequence[Ends]) -> None:
    """The life of a forked worker. It must not hold the leader's sockets: their end tells of the leader's."""
    status = 1
    try:
        for each in others:
            each.close()
        status = serve()
    except BaseException:  # the interpreter's own end is not ours to run: it belongs to the leader
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def begin(command: Sequence[str], place: Place) -> Process:
    """Start one worker by running `command`, this program's own. Raises OSError."""
    ours, theirs = channel.pair()
    sockets = [theirs.messages.fileno(), theirs.descriptors.fileno()]
    for number in (*sockets, place.memory):
        os.set_inheritable(number, True)
    try:
        option = ",".join(map(str, (*sockets, place)))
        pid = os.posix_spawn(command[0], [*command, OPTION, option], os.environ)
    except OSError:
        ours.close()
        raise
    finally:
        os.set_inheritable(place.memory, False)
        theirs.close()
    return Process(pid, ours)


def inherited(option: str) -> tuple[Place, Ends]:
    """What a worker was started with by OPTION."""
    messages, descriptors, number, workers, memory = map(int, option.split(","))
    for each in (messages, descriptors, memory):
        os.set_inheritable(each, False)
    ends = Ends(socket.socket(fileno=messages), socket.socket(fileno=descriptors))
    return Place(number, workers, memory), ends


def leave_signals_to_the_leader() -> None:
    """A terminal's Ctrl-C and a stop of the whole group reach every process; the leader says what they mean."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
