"""The capture rules against Istio's, rule by rule: golden tables for the options, invariants for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.capture_options import CaptureOptions, read
from node.capture_rules import plan

INJECTED = [
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-m",
    "REDIRECT",
    "-i",
    "*",
    "-x",
    "",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
]

DEFAULT = """\
*nat
-N ISTIO_INBOUND
-N ISTIO_REDIRECT
-N ISTIO_IN_REDIRECT
-N ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN
-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -o lo ! -d 127.0.0.1/32 -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
COMMIT
"""

# Options, and the rules they change: what they add to or take from the default.
CHANGES = [
    ("-b 80,443", {"-A ISTIO_INBOUND -p tcp --dport 80 -j ISTIO_IN_REDIRECT", "-A ISTIO_INBOUND -p tcp --dport 443 -j ISTIO_IN_REDIRECT"},
     {"-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT", *(f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in (15090, 15021, 15020))}),
    ("-b ", set(), {"-A PREROUTING -p tcp -j ISTIO_INBOUND", "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
     *(f"-A ISTIO_INBOUND -p tcp --dport {port} -j RETURN" for port in (15090, 15021, 15020))}),
    ("-i 10.0.0.0/8,172.16.0.0/12", {"-A ISTIO_OUTPUT -d 10.0.0.0/8 -j ISTIO_REDIRECT", "-A ISTIO_OUTPUT -d 172.16.0.0/12 -j ISTIO_REDIRECT"},
     {"-A ISTIO_OUTPUT -j ISTIO_REDIRECT"}),
    ("-i ", set(), {"-A ISTIO_OUTPUT -j ISTIO_REDIRECT"}),
    ("-i 127.0.0.0/8", {"-A ISTIO_OUTPUT -d 127.0.0.0/8 -j ISTIO_REDIRECT"},
     {"-A ISTIO_OUTPUT -j ISTIO_REDIRECT", "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN"}),
    ("-x 10.1.0.0/16", {"-A ISTIO_OUTPUT -d 10.1.0.0/16 -j RETURN"}, set()),
    ("-o 3306", {"-A ISTIO_OUTPUT -p tcp --dport 3306 -j RETURN", "-A ISTIO_OUTPUT -p udp --dport 3306 -j RETURN"}, set()),
    ("-q 8080", {"-A ISTIO_OUTPUT -p tcp --dport 8080 -j ISTIO_REDIRECT"}, set()),
    ("-c eth1", {"-A PREROUTING -i eth1 -j RETURN", "-A OUTPUT -o eth1 -j RETURN"}, set()),
    ("-k net1", {"-I PREROUTING 1 -i net1 -j RETURN", "-I PREROUTING 1 -i net1 -j ISTIO_REDIRECT"}, set()),
    ("--drop-invalid", {"*mangle", "-N ISTIO_DROP", "-A ISTIO_DROP -j DROP", "-A PREROUTING -m conntrack --ctstate INVALID -j ISTIO_DROP"}, set()),
]  # fmt: skip


def lines(arguments: list[str], environment: dict[str, str] | None = None) -> list[str]:
    return plan(read(arguments, environment or {}).options).restore_text().splitlines()


def test_what_the_injector_asks_for() -> None:
    assert lines([*INJECTED, "--log_output_level=default:info"]) == DEFAULT.splitlines()


@pytest.mark.parametrize(("options", "added", "removed"), CHANGES, ids=[change[0] for change in CHANGES])
def test_options(options: str, added: set[str], removed: set[str]) -> None:
    changed = set(lines([*INJECTED, *options.split(" ")]))
    default = set(DEFAULT.splitlines())
    assert changed - default == added
    assert default - changed == removed


def test_order_of_exemptions_and_redirections() -> None:
    """An excluded range goes before an included port, which goes before ranges; owner groups come after the owners."""
    found = lines(
        [*INJECTED, "-x", "10.1.0.0/16", "-q", "8080", "-i", "10.0.0.0/8", "-o", "53"],
        {"ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": "999"},
    )
    order = [
        "-A ISTIO_OUTPUT -p tcp --dport 53 -j RETURN",
        "-A ISTIO_OUTPUT -o lo -s 127.0.0.6/32 -j RETURN",
        "-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN",
        "-A ISTIO_OUTPUT -m owner --gid-owner 999 -j RETURN",
        "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
        "-A ISTIO_OUTPUT -d 10.1.0.0/16 -j RETURN",
        "-A ISTIO_OUTPUT -p tcp --dport 8080 -j ISTIO_REDIRECT",
        "-A ISTIO_OUTPUT -d 10.0.0.0/8 -j ISTIO_REDIRECT",
    ]
    assert [line for line in found if line in order] == order


def test_owner_groups_are_one_rule() -> None:
    found = lines(INJECTED, {"ISTIO_OUTBOUND_OWNER_GROUPS": "100,200"})
    assert "-A ISTIO_OUTPUT -m owner ! --gid-owner 100 -m owner ! --gid-owner 200 -j RETURN" in found


def test_several_uids_then_gids() -> None:
    found = lines(["-u", "1337,1338", "-g", "1337", "-i", "*"])
    owners = [
        line.split("-m owner ")[1].split(" -j")[0]
        for line in found
        if line.endswith("RETURN") and "-o lo" not in line and "-owner" in line
    ]
    assert owners == ["--uid-owner 1337", "--uid-owner 1338", "--gid-owner 1337"]


ports = st.lists(st.integers(1, 65535).map(str), max_size=4).map(tuple)


@given(inbound=st.one_of(st.just(("*",)), ports), excluded=ports, outbound=ports, all_ranges=st.booleans())
def test_every_plan_creates_what_it_jumps_to_and_redirects_last(
    inbound: tuple[str, ...], excluded: tuple[str, ...], outbound: tuple[str, ...], all_ranges: bool
) -> None:
    options = CaptureOptions(
        inbound_ports=inbound,
        exclude_inbound_ports=excluded,
        outbound_ports=outbound,
        outbound_ranges=("*",) if all_ranges else (),
    )
    made = plan(options)
    chains = {chain for _, chain in made.chains}
    for rule in made.rules:
        target = rule.match.rpartition("-j ")[2].split()[0]
        assert not target.startswith("ISTIO_") or target in chains
    output = [rule.match for rule in made.rules if rule.chain == "ISTIO_OUTPUT"]
    redirects = [index for index, match in enumerate(output) if match.endswith("-j ISTIO_REDIRECT")]
    returns = [index for index, match in enumerate(output) if match.endswith("-j RETURN")]
    assert not redirects or max(returns) < min(redirects)
