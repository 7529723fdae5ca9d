"""`python -m tests.differential [--judged envoy] [NAME…]`: one line per scenario, the differences below it, a total."""

from __future__ import annotations

import argparse
import json
import sys

from tests.differential.case.load import load
from tests.differential.compare import Verdict
from tests.differential.known import Known, find
from tests.differential.run import compare, compare_cases
from tests.differential.scenarios import SCENARIOS

SHOWN = 10
"""Differences printed of one case; the first tell what happened, the rest follow from it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios whose name contains one of these")
    parser.add_argument("--judged", choices=("ours", "envoy"), default="ours")
    parser.add_argument(
        "--ours", action="store_true", help="only our sidecar: cases of cases/*.yaml against their `expect`"
    )
    parser.add_argument("--cases", action="store_true", help="only cases/*.yaml, not scenarios/*.py")
    parser.add_argument("--show", action="store_true", help="print also what Envoy did")
    parser.add_argument("--list", action="store_true", help="print the names only")
    options = parser.parse_args()
    names = options.names or [""]

    def chosen(name: str) -> bool:
        return any(part in name for part in names)

    every, wrong = load()
    cases = [case for case in every if chosen(case.name)]
    for line in wrong:
        print(line, file=sys.stderr)
    scenarios = (
        [] if options.ours or options.cases else [scenario for scenario in SCENARIOS if chosen(scenario.name)]
    )
    if options.list:
        print("\n".join([*(f"{s.name}.{at}" for s in scenarios for at in s.at), *(c.name for c in cases)]))
        return 0
    verdicts = compare(scenarios, options.judged) if scenarios else []
    judged = "ours" if options.ours else options.judged
    verdicts += compare_cases(cases, judged, reference="ours" if options.ours else "envoy") if cases else []
    return report(verdicts, judged, show=options.show) or 2 * bool(wrong)


def report(verdicts: list[Verdict], judged: str, *, show: bool = False) -> int:
    """Prints every verdict and the totals; the exit code: 1 when there is a difference without a reason."""
    counts = dict.fromkeys(("same", "allowed", "different"), 0)
    unexplained = 0
    for verdict in verdicts:
        entry = find(verdict.name) if judged == "ours" else None
        word, wrong = _word(verdict, entry)
        counts[word] += 1
        unexplained += wrong
        print(f"{word:<10} {verdict.name}{f'  (known: {entry.reason})' if entry else ''}")
        lines = [*map(str, verdict.differences), *(f"allowed: {reason}" for reason in verdict.reasons)]
        for line in lines if show else lines[:SHOWN]:
            print(f"           {line}")
        if len(lines) > SHOWN and not show:
            print(f"           and {len(lines) - SHOWN} more (--show)")
        if show:
            print(json.dumps(verdict.envoy, indent=1, default=repr))
    total = sum(counts.values())
    print(
        f"{total} scenarios: {counts['same']} same, {counts['allowed']} allowed, {counts['different']} different"
    )
    return 1 if unexplained else 0


def _word(verdict: Verdict, entry: Known | None) -> tuple[str, bool]:
    """What to call it, and whether it needs mending: also an entry that is no longer true does."""
    if entry is None:
        return verdict.word, verdict.word == "different"
    if verdict.word == "different":
        return "allowed", False
    return verdict.word, entry.always


if __name__ == "__main__":
    sys.exit(main())
