"""Our sidecar under a profiler that is switched by signals: SIGUSR1 starts it, SIGUSR2 stops it and writes PROFILE_OUT.

    PROFILE_OUT=FILE python -m bench.profiled -c BOOTSTRAP

Only what runs between the two signals is counted, so start-up and configuration are not. Time is the thread's CPU time:
the other sidecar shares the CPU, and what it takes is not ours.
"""

from __future__ import annotations

import cProfile
import os
import runpy
import signal
import time

_profile = cProfile.Profile(time.thread_time)


def _start(*_: object) -> None:
    _profile.enable()


def _stop(*_: object) -> None:
    _profile.disable()
    _profile.dump_stats(os.environ["PROFILE_OUT"])


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _start)
    signal.signal(signal.SIGUSR2, _stop)
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)
