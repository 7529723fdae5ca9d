"""Which machine code the sidecars ran, sampled by `perf` without their help: the kernel by system call, libraries, compiled functions.

Needs perf (Debian: linux-perf) and the right to sample the kernel. `kind` is pure: what one sample's stack stands for.
Waking the receiver is told apart from sending, because it depends on whether the receiver sleeps: messages sent in bursts wake it once.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.children import Child, Children, wait_until
from proxy.compiled.modules import MODULES

FREQUENCY = 1999  # samples per second of CPU time; a prime, so that nothing periodic is always met
SEND, WAKE, RECEIVE, EPOLL, KERNEL = (
    "kernel: send",
    "kernel: wake the receiver",
    "kernel: receive",
    "kernel: epoll",
    "kernel: other",
)
OPENSSL, USER = "OpenSSL", "user"
Function = tuple[str, str]
"""File and name."""
Frame = tuple[str, str]
"""Symbol and file, of code that ran; the innermost of a stack comes first."""

_WAKING = frozenset({"try_to_wake_up", "ep_poll_callback", "sock_def_readable", "__wake_up_sync_key"})
# By the functions of the kernel that are in the stack; the first that fits.
_KERNEL: tuple[tuple[str, frozenset[str]], ...] = (
    (WAKE, _WAKING),
    (SEND, frozenset({"tcp_sendmsg", "__sys_sendto", "sock_write_iter", "__sys_sendmsg", "do_writev"})),
    (RECEIVE, frozenset({"tcp_recvmsg", "__sys_recvfrom", "sock_read_iter", "do_readv"})),
    (EPOLL, frozenset({"do_epoll_wait", "do_epoll_ctl"})),
    (KERNEL, frozenset({"vfs_write", "vfs_read"})),
)
# Entering and leaving a system call shows only who called.
_CALLERS = (("send", SEND), ("write", SEND), ("recv", RECEIVE), ("read", RECEIVE), ("epoll", EPOLL))
_OPENSSL = ("libssl", "libcrypto", "/_ssl.")
# Calls of a compiled function from C, from Python, and of a coroutine that goes on.
_COMPILED = re.compile(r"CPy(?:Def_|Py_|Dunder_am_send)(.+?)(?:_gen_____mypyc_generator_helper__|_gen)?$")


def why_not() -> str:
    """Why perf cannot be used here; empty if it can."""
    if shutil.which("perf") is None:
        return "needs perf (Debian: apt-get install linux-perf)"
    paranoid = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
    if paranoid > 1 and Path("/proc/self/status").read_text().find("Uid:\t0\t") < 0:
        return f"perf may not see the kernel: /proc/sys/kernel/perf_event_paranoid is {paranoid}"
    return ""


def kind(stack: Sequence[Frame]) -> str:
    """What the innermost frame's time was spent on."""
    file = stack[0][1]
    if file != "[kernel.kallsyms]":
        return OPENSSL if any(part in file for part in _OPENSSL) else USER
    symbols = {symbol for symbol, file in stack if file == "[kernel.kallsyms]"}
    for name, functions in _KERNEL:
        if symbols & functions:
            return name
    caller = next((symbol for symbol, file in stack if file != "[kernel.kallsyms]"), "")
    return next((name for part, name in _CALLERS if part in caller), KERNEL)


def stacks(script: Iterable[str]) -> Iterator[list[Frame]]:
    """The stacks in what `perf script -F ip,sym,dso` prints: a line per frame, an empty line behind each stack."""
    stack: list[Frame] = []
    for line in script:
        columns = line.split()
        if len(columns) >= 3:
            stack.append((columns[1].partition("+")[0], line.rpartition("(")[2].rstrip(")\n")))
        elif stack:
            yield stack
            stack = []
    if stack:
        yield stack


def compiled_function(stack: Sequence[Frame], modules: Mapping[str, str]) -> Function:
    """The innermost compiled function, with its file; that of the event loop if there is none.

    `modules` are file names by what mypyc calls a module in its symbols: the end of its name, as long as it is not unique.
    """
    for symbol, _ in stack:
        match = _COMPILED.match(symbol)
        if match is None:
            continue
        names = [name for name in modules if match[1].startswith(name + "___")]
        if names:
            name = max(names, key=len)
            return modules[name], match[1][len(name) + 3 :].replace("___", ".")
    return "", "event loop"


def symbols_of(modules: Iterable[str]) -> dict[str, str]:
    """File names by every name that a symbol may have for their module."""
    found = {}
    for module in modules:
        parts = module.split(".")
        for start in range(len(parts)):
            found["___".join(parts[start:])] = "/" + "/".join(parts) + ".py"
    return found


@dataclass
class Samples:
    """By kind and, of what is neither the kernel's nor OpenSSL's time, by function; `whole` is by function, both included."""

    kinds: Counter[str] = field(default_factory=Counter)
    functions: Counter[Function] = field(default_factory=Counter)
    whole: Counter[Function] = field(default_factory=Counter)


@contextmanager
def recorded(
    children: Children, directory: Path, sidecars: Mapping[str, Child], *, compiled: bool = False
) -> Iterator[dict[str, Samples]]:
    """Samples the sidecars meanwhile; afterwards the dictionary holds the samples by role.

    Compiled functions are found by unwinding, which takes a copy of the stack for each sample: so fewer are taken.
    """
    found: dict[str, Samples] = {}
    tracers = {}
    for role, sidecar in sidecars.items():
        file = directory / f"{sidecar.name}.perf"
        graph, frequency = ("dwarf,8192", FREQUENCY // 2) if compiled else ("fp", FREQUENCY)
        argv = ["perf", "record", "-e", "cpu-clock", "-F", str(frequency), "--call-graph", graph]
        argv += ["-p", str(sidecar.pid), "-o", str(file)]
        tracers[role] = children.start(f"perf-{sidecar.name}", argv), file
    wait_until("perf records", lambda: all(file.exists() for _, file in tracers.values()), [])
    yield found
    for role, (tracer, file) in tracers.items():
        tracer.process.send_signal(signal.SIGINT)
        tracer.process.wait()
        found[role] = _read(file)


def _read(file: Path) -> Samples:
    argv = ["perf", "script", "-i", str(file), "-F", "ip,sym,dso"]
    found, modules = Samples(), symbols_of(MODULES)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as script:
        assert script.stdout is not None
        for stack in stacks(script.stdout):
            what, function = kind(stack), compiled_function(stack, modules)
            found.kinds[what] += 1
            found.whole[function] += 1
            if what == USER:
                found.functions[function] += 1
    return found
