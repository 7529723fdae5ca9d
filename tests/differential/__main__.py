"""`python -m tests.differential [--judged envoy] [NAME…]`: one line per scenario, the differences below it, a total."""

from __future__ import annotations

import argparse
import json
import sys

from tests.differential.known import find
from tests.differential.run import compare
from tests.differential.scenarios import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("names", nargs="*", help="scenarios whose name contains one of these")
    parser.add_argument("--judged", choices=("ours", "envoy"), default="ours")
    parser.add_argument("--show", action="store_true", help="print also what Envoy did")
    options = parser.parse_args()
    names = options.names or [""]
    chosen = [scenario for scenario in SCENARIOS if any(name in scenario.name for name in names)]
    known = {f"{s.name}.{at}": found for s in SCENARIOS for at in s.at if (found := find(s, at))}
    counts = dict.fromkeys(("same", "allowed", "different"), 0)
    unexpected = 0
    for verdict in compare(chosen, options.judged):
        counts[verdict.word] += 1
        entry = known.get(verdict.name) if options.judged == "ours" else None
        unexpected += (verdict.word == "different") != (entry is not None) and (entry is None or entry.always)
        note = f"  (known: {entry.reason})" if entry else ""
        print(f"{verdict.word:<10} {verdict.name}{note}")
        for line in (*map(str, verdict.differences), *(f"allowed: {reason}" for reason in verdict.reasons)):
            print(f"           {line}")
        if options.show:
            print(json.dumps(verdict.envoy, indent=1))
    total = sum(counts.values())
    print(
        f"{total} scenarios: {counts['same']} same, {counts['allowed']} allowed, {counts['different']} different"
    )
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
