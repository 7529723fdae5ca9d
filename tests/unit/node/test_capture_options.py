"""Options of istio-iptables: what is read, what is refused and how."""

from __future__ import annotations

import pytest

from node.capture_options import OptionError, read


def test_defaults_capture_nothing() -> None:
    options = read([], {}).options
    assert (options.inbound_ports, options.outbound_ranges) == ((), ())
    assert (options.uids, options.gids) == (("1337",), ("1337",))


def test_gid_follows_uid() -> None:
    assert read(["-u", "1500"], {}).options.gids == ("1500",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-m", "TPROXY"], "istio-inbound-interception-mode TPROXY is not supported"),
        (["--redirect-dns"], "redirect-dns is not supported"),
        (["--dual-stack"], "dual-stack is not supported"),
        (["--run-validation"], "run-validation is not supported"),
        (["-p", "no"], "envoy-port: 'no' is not a port"),
        (["-b", "80,x"], "istio-inbound-ports: 'x' is not a port"),
        (["-d", "70000"], "istio-local-exclude-ports: '70000' is not a port"),
        (["-i", "10.0.0.0/40"], "istio-service-cidr: '10.0.0.0/40' is not an IPv4 range"),
        (["--no-such-option"], "unknown option --no-such-option"),
        (["--force-iptables-binary", "pf"], "invalid choice"),
    ],
)
def test_refused_by_name(arguments: list[str], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        read(arguments, {})


def test_log_options_of_istio_are_let_by() -> None:
    assert read(["--log_output_level=default:info"], {}).options.tunnel_port == "15008"
