"""The iptables rules that send a pod's traffic to its sidecar, exactly as Istio's init container writes them.

A pure function from options to an ordered list. The order is the meaning: the first rule that matches decides, so each step
says why it stands where it stands. Reference: istio tools/istio-iptables/pkg/capture/run.go (REDIRECT, IPv4).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from node.capture_options import ALL, CaptureOptions

CHAINS = ("ISTIO_INBOUND", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT")
DROP_CHAIN = "ISTIO_DROP"
PASSTHROUGH_SOURCE = (
    "127.0.0.6/32"  # what the sidecar calls the app from, so that the app's answer is not captured
)
MOST_OWNER_GROUPS = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `position` inserts it there; 0 appends it to its chain."""

    table: str
    chain: str
    match: str
    position: int = 0

    @property
    def line(self) -> str:
        place = f"-I {self.chain} {self.position}" if self.position else f"-A {self.chain}"
        return f"{place} {self.match}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Chains to create, by table, and rules in the order they are written."""

    chains: tuple[tuple[str, str], ...]
    rules: tuple[Rule, ...]

    def restore_text(self) -> str:
        """The input of `iptables-restore --noflush`: applied whole or not at all."""
        return "".join(self._table(table) for table in ("mangle", "nat") if self.touches(table))

    def touches(self, table: str) -> bool:
        return any(where == table for where, _ in self.chains)

    def _table(self, table: str) -> str:
        chains = "".join(f"-N {chain}\n" for where, chain in self.chains if where == table)
        rules = "".join(f"{rule.line}\n" for rule in self.rules if rule.table == table)
        return f"*{table}\n{chains}{rules}COMMIT\n"


def plan(options: CaptureOptions) -> Plan:
    """Everything to write for one pod."""
    chains = [("nat", chain) for chain in CHAINS]
    rules = [Rule("nat", chain, match, position) for chain, match, position in _nat(options)]
    if options.drop_invalid:
        chains.append(("mangle", DROP_CHAIN))
        rules.append(Rule("mangle", DROP_CHAIN, "-j DROP"))
        rules.append(Rule("mangle", "PREROUTING", f"-m conntrack --ctstate INVALID -j {DROP_CHAIN}"))
    return Plan(tuple(chains), tuple(rules))


# chain, match, position
_Rule = tuple[str, str, int]


def _nat(options: CaptureOptions) -> Iterator[_Rule]:
    for interface in options.exclude_interfaces:
        yield "PREROUTING", f"-i {interface} -j RETURN", 0
        yield "OUTPUT", f"-o {interface} -j RETURN", 0
    for interface in options.virtual_interfaces:
        yield "PREROUTING", f"-i {interface} -j RETURN", 1
    # Tunnelled traffic arrives at its own listener and is never captured.
    yield "ISTIO_INBOUND", f"-p tcp --dport {options.tunnel_port} -j RETURN", 0
    yield "ISTIO_REDIRECT", f"-p tcp -j REDIRECT --to-ports {options.outbound_port}", 0
    yield "ISTIO_IN_REDIRECT", f"-p tcp -j REDIRECT --to-ports {options.inbound_port}", 0
    yield from _inbound(options)
    # Every protocol jumps: only the redirect at the end is for TCP.
    yield "OUTPUT", "-j ISTIO_OUTPUT", 0
    yield from _own_traffic(options)
    yield from _outbound(options)


def _inbound(options: CaptureOptions) -> Iterator[_Rule]:
    if not options.captures_inbound:
        return
    yield "PREROUTING", "-p tcp -j ISTIO_INBOUND", 0
    if ALL not in options.inbound_ports:
        for port in options.inbound_ports:
            yield "ISTIO_INBOUND", f"-p tcp --dport {port} -j ISTIO_IN_REDIRECT", 0
        return
    for port in options.exclude_inbound_ports:
        yield "ISTIO_INBOUND", f"-p tcp --dport {port} -j RETURN", 0
    yield "ISTIO_INBOUND", "-p tcp -j ISTIO_IN_REDIRECT", 0


def _own_traffic(options: CaptureOptions) -> Iterator[_Rule]:
    """Who is exempt, before anything is redirected."""
    chain = "ISTIO_OUTPUT"
    for port in options.exclude_outbound_ports:
        yield chain, f"-p tcp --dport {port} -j RETURN", 0
        yield chain, f"-p udp --dport {port} -j RETURN", 0
    # The sidecar calling its app: without this the call would come back to the sidecar for ever.
    yield chain, f"-o lo -s {PASSTHROUGH_SOURCE} -j RETURN", 0
    owners = [f"--uid-owner {uid}" for uid in options.uids] + [f"--gid-owner {gid}" for gid in options.gids]
    for owner in owners:
        # The sidecar calling its own pod's address enters through the inbound listener, as from outside.
        not_tunnel = f"-p tcp ! --dport {options.tunnel_port}"
        yield (
            chain,
            f"-o lo ! -d {options.loopback_range} {not_tunnel} -m owner {owner} -j ISTIO_IN_REDIRECT",
            0,
        )
        # The app calling itself stays on loopback.
        yield chain, f"-o lo -m owner ! {owner} -j RETURN", 0
        # The sidecar's own calls leave the pod untouched.
        yield chain, f"-m owner {owner} -j RETURN", 0
    yield from _owner_groups(options)


def _owner_groups(options: CaptureOptions) -> Iterator[_Rule]:
    if options.exclude_owner_groups:
        for group in options.exclude_owner_groups[:MOST_OWNER_GROUPS]:
            yield "ISTIO_OUTPUT", f"-m owner --gid-owner {group} -j RETURN", 0
    elif ALL not in options.owner_groups:
        groups = options.owner_groups[:MOST_OWNER_GROUPS]
        yield (
            "ISTIO_OUTPUT",
            " ".join(f"-m owner ! --gid-owner {group}" for group in groups) + " -j RETURN",
            0,
        )


def _outbound(options: CaptureOptions) -> Iterator[_Rule]:
    chain = "ISTIO_OUTPUT"
    if not any(_is_loopback(item) for item in options.outbound_ranges):
        yield chain, f"-d {options.loopback_range} -j RETURN", 0
    for item in options.exclude_outbound_ranges:
        yield chain, f"-d {item} -j RETURN", 0
    for port in options.outbound_ports:  # before the ranges: a port is captured whatever the address
        yield chain, f"-p tcp --dport {port} -j ISTIO_REDIRECT", 0
    if ALL in options.outbound_ranges:
        yield chain, "-j ISTIO_REDIRECT", 0
    else:
        for item in options.outbound_ranges:
            yield chain, f"-d {item} -j ISTIO_REDIRECT", 0
    for interface in options.virtual_interfaces:
        for item in options.outbound_ranges:
            match = f"-i {interface}" if item == ALL else f"-i {interface} -d {item}"
            yield "PREROUTING", f"{match} -j ISTIO_REDIRECT", 1


def _is_loopback(item: str) -> bool:
    return item != ALL and ipaddress.IPv4Network(item, strict=False).is_loopback
