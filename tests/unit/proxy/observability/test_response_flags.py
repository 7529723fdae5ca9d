"""Response flags: Envoy's order, both spellings."""

from __future__ import annotations

import pytest

from proxy.observability import response_flags as flags


def test_text_keeps_envoys_order() -> None:
    assert flags.text(flags.URX | flags.UF) == "URX,UF"
    assert flags.text(flags.TCP_URX | flags.UF) == "UF,URX"
    assert flags.text(flags.UT | flags.DI) == "DI,UT"
    assert flags.text(flags.NR | flags.RL | flags.FI | flags.DI) == "DI,FI,RL,NR"
    assert flags.text(0) == flags.long_text(0) == "-"


def test_every_flag_has_a_long_name() -> None:
    for bit in range(31):
        assert flags.long_text(1 << bit) not in ("", "-")
    assert flags.long_text(flags.UDO) == "UnconditionalDropOverload"
    assert flags.long_text(flags.NR | flags.NC) == "NoRouteFound,NoClusterFound"


def test_bits_reads_what_text_writes() -> None:
    assert flags.bits(flags.text(flags.UH | flags.DC)) == flags.UH | flags.DC
    assert flags.bits("URX") == flags.URX | flags.TCP_URX
    with pytest.raises(ValueError, match="ZZ"):
        flags.bits("ZZ")
