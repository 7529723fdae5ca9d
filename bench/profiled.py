"""Our sidecar under a profiler that is switched by signals: SIGUSR1 starts it, SIGUSR2 stops it and writes FILE.

    python -m bench.profiled calls|samples FILE -c BOOTSTRAP

Only what runs between the two signals is counted, so start-up and configuration are not. Time is CPU time: the other sidecar
shares the CPU, and what it takes is not ours. `calls` counts every call (cProfile), which makes small functions look
dearer than they are. `samples` looks at every tick of the CPU clock which function is at work, and disturbs nothing.
"""

from __future__ import annotations

import cProfile
import dis
import json
import runpy
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Protocol

INTERVAL_S = 0.001  # the kernel rounds up to its tick, 4 ms where CONFIG_HZ is 250
_RESUME = dis.opmap["RESUME"]
LOOP = ("", "event loop")
_ROOTS = ("/proxy/__main__.py", "/proxy/server.py")  # what waits in the event loop


class Profiler(Protocol):
    """Counts from `start` to `stop`."""

    def start(self) -> None: ...
    def stop(self, out: Path) -> None: ...


class Calls:
    """Every call, by cProfile."""

    def __init__(self) -> None:
        self._profile = cProfile.Profile(time.thread_time)

    def start(self) -> None:
        self._profile.enable()

    def stop(self, out: Path) -> None:
        self._profile.disable()
        self._profile.dump_stats(out)


class Samples:
    """Which function of the sidecar was at work when the CPU clock ticked, whatever it called outside the package included.

    CPython looks for signals when a C function has returned and when a function begins or goes on. In the latter two cases
    the time went into the caller, or into the event loop if there is none.
    """

    def __init__(self) -> None:
        self.found: Counter[tuple[str, str]] = Counter()
        self._code: dict[CodeType, bytes] = {}

    def _begins(self, frame: FrameType) -> bool:
        text = self._code.get(frame.f_code)
        if text is None:
            text = self._code[frame.f_code] = frame.f_code.co_code
        return text[frame.f_lasti] == _RESUME

    def _tick(self, _: int, frame: FrameType | None) -> None:
        while frame is not None and (self._begins(frame) or not _is_ours(frame.f_code)):
            frame = frame.f_back
        if frame is None or frame.f_code.co_filename.endswith(_ROOTS):
            self.found[LOOP] += 1
        else:
            self.found[frame.f_code.co_filename, frame.f_code.co_qualname] += 1

    def start(self) -> None:
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def stop(self, out: Path) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        whole = out.with_suffix(".part")
        whole.write_text(json.dumps([[*key, count] for key, count in self.found.items()]))
        whole.rename(out)


def _is_ours(code: CodeType) -> bool:
    return "/proxy/" in code.co_filename


PROFILERS: dict[str, type[Calls] | type[Samples]] = {"calls": Calls, "samples": Samples}


def main() -> None:
    profiler: Profiler = PROFILERS[sys.argv.pop(1)]()
    out = Path(sys.argv.pop(1))
    signal.signal(signal.SIGUSR1, lambda *_: profiler.start())
    signal.signal(signal.SIGUSR2, lambda *_: profiler.stop(out))
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
