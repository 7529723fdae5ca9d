"""Drives one coroutine by socket readiness: no Task, no Future, no turn of the event loop per step.

The coroutine waits with `await PAUSE` inside a loop over the condition it waits for, because any event of any
of its connections wakes it. `wake` runs it at once, on the stack of whoever saw the event; a wake from inside the
coroutine's own run is dropped, since it looks at its condition again before it pauses. `throw` raises at the pause,
at once or, from inside its own run, as soon as it pauses next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Final

from proxy.router.stream import Wakeable


class _Pause:
    def __await__(self) -> Generator[None, None, None]:
        yield


PAUSE: Final[Awaitable[None]] = _Pause()
"""`await PAUSE` waits for the next `wake` or `throw`."""


def _ended(_: BaseException | None) -> None:
    """A flow that is done does not hold on to whoever it told."""


class Flow(Wakeable):
    """`on_end(error)` is called once when the coroutine returns (None) or lets an exception out."""

    __slots__ = ("_coroutine", "_fault", "_on_end", "_running", "done")

    def __init__(self, on_end: Callable[[BaseException | None], None]) -> None:
        self._on_end = on_end
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._fault: BaseException | None = None
        self._running = False
        self.done = False

    def start(self, running: Coroutine[Any, Any, None]) -> None:
        """Run the coroutine up to its first pause."""
        self._coroutine = running
        self.wake()

    def wake(self) -> None:
        """Something the coroutine may be waiting for has happened."""
        if self._running or self._coroutine is None:
            return
        self._running = True
        try:
            self._coroutine.send(None)
            while self._fault is not None:
                fault, self._fault = self._fault, None
                self._coroutine.throw(fault)
        except StopIteration:
            self._finish(None)
        except Exception as error:  # one request's failure must not end the event loop's callback
            self._finish(error)
        finally:
            self._running = False

    def throw(self, fault: BaseException) -> None:
        """Raise `fault` where the coroutine is paused."""
        if self._coroutine is None:
            return
        self._fault = fault
        if not self._running:
            self._running = True
            try:
                while self._fault is not None:
                    fault, self._fault = self._fault, None
                    self._coroutine.throw(fault)
            except StopIteration:
                self._finish(None)
            except Exception as error:  # as in wake
                self._finish(error)
            finally:
                self._running = False
                del fault  # its traceback holds this frame, and with it the connection

    def _finish(self, error: BaseException | None) -> None:
        self._coroutine = None
        self._fault = None
        self.done = True
        on_end, self._on_end = self._on_end, _ended
        on_end(error)

    def __repr__(self) -> str:
        state = "done" if self.done else "running" if self._running else "paused"
        return f"<Flow {state}>"
