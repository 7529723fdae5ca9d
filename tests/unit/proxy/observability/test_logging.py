"""The sidecar's own log: Envoy's line and levels."""

from __future__ import annotations

import logging as stdlib
import re
from pathlib import Path

import pytest

from proxy.observability import logging


def test_levels_of_one_and_of_all() -> None:
    logging.set_level("warning")
    logging.set_level("debug", "xds")
    assert (logging.level("xds"), logging.level("http")) == ("debug", "warning")
    logging.set_level("info")
    with pytest.raises(KeyError):
        logging.set_level("loud")


def test_the_line_is_envoys(capsys: pytest.CaptureFixture[str]) -> None:
    root = stdlib.getLogger("proxy")
    before = (root.handlers[:], root.propagate, stdlib.getLogger("asyncio").handlers[:])
    try:
        logging.start("info")
        logging.logger("xds").warning("refused: %s", "x")
        logging.logger("xds").debug("not shown")
    finally:
        root.handlers[:], root.propagate, stdlib.getLogger("asyncio").handlers[:] = before
    line = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[\d+\]\[warning\]\[xds\] \[test_logging\.py:\d+\] refused: x\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_only_listed_components_log() -> None:
    with pytest.raises(AssertionError):
        logging.logger("nobody")


def test_every_module_logs_by_a_name_that_can_be_set() -> None:
    folder = Path(logging.__file__).parents[1]
    others = [file for file in folder.rglob("*.py") if "getLogger" in file.read_text()]
    assert others == [Path(logging.__file__)]
