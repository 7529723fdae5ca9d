"""Applies the capture rules in the network namespace it is run in: `python -m node.iptables ARGUMENTS OF istio-iptables`.

What istio-init runs, in a pod of this machine and in a compose container alike. Applied in one transaction; running it again
changes nothing; rules that differ from what is asked are an error unless `--reconcile` or `--force-apply` says to replace
them. Reference: istio tools/istio-iptables/pkg/capture/run.go.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from node.capture_options import OptionError, read
from node.capture_rules import Plan, plan


class IptablesError(Exception):
    """iptables refused; the text says what."""


class Iptables:
    """One flavour of the tools: `iptables`, `iptables-legacy` or `iptables-nft`."""

    def __init__(self, flavour: str = "") -> None:
        self.name = f"iptables-{flavour}" if flavour else "iptables"

    def __repr__(self) -> str:
        return f"<Iptables {self.name}>"

    def saved(self, table: str) -> str:
        return self._run([f"{self.name}-save", "-t", table])

    def restore(self, text: str) -> None:
        self._run([f"{self.name}-restore", "--noflush"], text)

    def has(self, table: str, chain: str, match: str) -> bool:
        command = [self.name, "-w", "-t", table, "-C", chain, *match.split()]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _run(self, command: Sequence[str], text: str = "") -> str:
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise IptablesError(
                f"{command[0]} is not installed (Debian, Ubuntu: apt-get install iptables)"
            ) from None
        if done.returncode != 0:
            raise IptablesError(f"{command[0]}: {done.stderr.strip()}")
        return done.stdout


def usable(flavour: str) -> Iptables:
    """The flavour asked for, else the first whose nat table this kernel has. Raises IptablesError."""
    tools = [Iptables(flavour)] if flavour else [Iptables(), Iptables("legacy"), Iptables("nft")]
    errors = []
    for tool in tools:
        try:
            tool.saved("nat")
        except IptablesError as error:
            errors.append(str(error))
        else:
            return tool
    raise IptablesError(errors[0])


def apply(tool: Iptables, wanted: Plan, replace: bool) -> str:
    """Makes the rules be there and says what was done. Raises IptablesError when others are in the way."""
    if not present(tool, wanted):
        tool.restore(wanted.restore_text())
        return "rules applied"
    if equal(tool, wanted):
        return "rules already in place"
    if not replace:
        raise IptablesError("other capture rules are in place; --reconcile replaces them")
    clean_up(tool)
    tool.restore(wanted.restore_text())
    return "rules replaced"


def present(tool: Iptables, wanted: Plan) -> bool:
    """Whether any of our chains exists."""
    saved = {table: tool.saved(table) for table, _ in wanted.chains}
    return any(f":{chain} " in saved[table] for table, chain in wanted.chains)


def equal(tool: Iptables, wanted: Plan) -> bool:
    """Whether exactly these rules exist: each is there, and there are no more of them."""
    tables = {table for table, _ in wanted.chains}
    saved = [line for table in tables for line in tool.saved(table).splitlines() if line.startswith("-A")]
    if sum("ISTIO_" in line for line in saved) != sum("ISTIO_" in rule.line for rule in wanted.rules):
        return False
    return all(tool.has(rule.table, rule.chain, rule.match) for rule in wanted.rules)


def clean_up(tool: Iptables) -> None:
    """Removes every rule and chain of ours, whatever options they were made with."""
    for table in ("nat", "mangle"):
        lines = tool.saved(table).splitlines()
        chains = [line[1:].split()[0] for line in lines if line.startswith(":ISTIO_")]
        if not chains:
            continue
        jumps = [
            f"-D {line[3:]}"
            for line in lines
            if line.startswith("-A ") and not line.startswith("-A ISTIO_") and "ISTIO_" in line
        ]
        text = [
            f"*{table}",
            *jumps,
            *(f"-F {chain}" for chain in chains),
            *(f"-X {chain}" for chain in chains),
            "COMMIT",
            "",
        ]
        tool.restore("\n".join(text))


def main(arguments: Sequence[str]) -> int:
    try:
        asked = read(arguments, os.environ)
        wanted = plan(asked.options)
        if asked.dry_run:
            print(wanted.restore_text(), end="")
            return 0
        tool = usable(asked.binary)
        if asked.cleanup_only:
            clean_up(tool)
            return 0
        if not asked.skip_apply:
            print(apply(tool, wanted, asked.reconcile))
    except (OptionError, IptablesError) as error:
        print(f"istio-iptables: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
