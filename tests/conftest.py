"""What every test keeps to: leave nothing running.

An unclosed socket or file is already an error (ResourceWarning with `filterwarnings = error`); here a child
process that outlives the whole run fails the run and is named. This process tests the sources, whose parts can be replaced by
doubles; the sidecars it starts run as compiled wherever they are.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_WISH = os.environ.pop("GLASSMESH_COMPILED", None)
os.environ["GLASSMESH_COMPILED"] = "0"

import proxy  # noqa: E402, F401

del os.environ["GLASSMESH_COMPILED"]
if _WISH is not None:
    os.environ["GLASSMESH_COMPILED"] = _WISH


def _children() -> list[str]:
    """Live direct children of this process, each as `pid command line`."""
    found: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            try:
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended while we looked
            if state != "Z":
                found.append(f"{pid} {line.strip()}")
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    for child in _children():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"left running: {child}", red=True)
