"""Every case of `cases/*.yaml` through real Envoy and ours, as one run whose verdicts are then asked one by one."""

from __future__ import annotations

import pytest

from tests.differential.case.load import load
from tests.differential.compare import Verdict
from tests.differential.run import compare_cases
from tests.differential.test_differential import parameter, pytestmark

__all__ = ["pytestmark"]
CASES, WRONG = load()


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in compare_cases(CASES)}


def test_case_files_say_what_cases_can_say() -> None:
    assert not WRONG


@pytest.mark.parametrize("name", [parameter(case.name) for case in CASES])
def test_ours_does_as_envoy(name: str, verdicts: dict[str, Verdict]) -> None:
    verdict = verdicts[name]
    assert verdict.word != "different", "\n".join(map(str, verdict.differences))
