"""The options of `istio-iptables`, read as Istio's tool reads them.

Knows names, defaults and what is refused; nothing of rules. An option whose effect is not built is refused by name: a pod
whose traffic is captured otherwise than its owner asked for must not start. Reference: istio
tools/istio-iptables/pkg/{cmd,config,constants}.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALL = "*"


class OptionError(ValueError):
    """An option that is malformed or not supported; the text is one line."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What to capture. Ports and ranges are text, as iptables takes them; `*` means all, empty none."""

    outbound_port: str = "15001"
    inbound_port: str = "15006"
    tunnel_port: str = "15008"
    uids: tuple[str, ...] = ("1337",)
    gids: tuple[str, ...] = ("1337",)
    inbound_ports: tuple[str, ...] = ()
    exclude_inbound_ports: tuple[str, ...] = ()
    outbound_ports: tuple[str, ...] = ()
    exclude_outbound_ports: tuple[str, ...] = ()
    outbound_ranges: tuple[str, ...] = ()
    exclude_outbound_ranges: tuple[str, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    virtual_interfaces: tuple[str, ...] = ()
    loopback_range: str = "127.0.0.1/32"
    owner_groups: tuple[str, ...] = (ALL,)
    exclude_owner_groups: tuple[str, ...] = ()
    drop_invalid: bool = False

    @property
    def captures_inbound(self) -> bool:
        return bool(self.inbound_ports)


@dataclass(frozen=True, slots=True)
class Invocation:
    """One run of the tool."""

    options: CaptureOptions
    dry_run: bool = False
    skip_apply: bool = False
    reconcile: bool = False
    cleanup_only: bool = False
    binary: str = ""  # "", "legacy" or "nft"


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Raises OptionError."""
    given, unknown = _parser().parse_known_args(list(arguments))
    if wrong := [name for name in unknown if not name.startswith(("--log_", "--vklog"))]:
        raise OptionError(f"unknown option {wrong[0]}")
    _refuse(given)
    uid = given.proxy_uid or "1337"
    options = CaptureOptions(
        outbound_port=_port("envoy-port", given.envoy_port),
        inbound_port=_port("inbound-capture-port", given.inbound_capture_port),
        tunnel_port=_port("inbound-tunnel-port", given.inbound_tunnel_port),
        uids=_list(uid),
        gids=_list(given.proxy_gid or uid),
        inbound_ports=_ports("istio-inbound-ports", given.istio_inbound_ports),
        exclude_inbound_ports=_ports("istio-local-exclude-ports", given.istio_local_exclude_ports),
        outbound_ports=_ports("istio-outbound-ports", given.istio_outbound_ports),
        exclude_outbound_ports=_ports(
            "istio-local-outbound-ports-exclude", given.istio_local_outbound_ports_exclude
        ),
        outbound_ranges=_ranges("istio-service-cidr", given.istio_service_cidr),
        exclude_outbound_ranges=_ranges("istio-service-exclude-cidr", given.istio_service_exclude_cidr),
        exclude_interfaces=_list(given.istio_exclude_interfaces),
        virtual_interfaces=_list(given.kube_virt_interfaces),
        loopback_range=environment.get("ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR", "127.0.0.1/32"),
        owner_groups=_list(environment.get("ISTIO_OUTBOUND_OWNER_GROUPS", ALL)),
        exclude_owner_groups=_list(environment.get("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", "")),
        drop_invalid=given.drop_invalid,
    )
    return Invocation(
        options,
        dry_run=given.dry_run,
        skip_apply=given.skip_rule_apply,
        reconcile=given.reconcile or given.force_apply,
        cleanup_only=given.cleanup_only,
        binary=given.force_iptables_binary,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise OptionError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="istio-iptables",
        description="Writes the rules that send a pod's traffic to its sidecar.",
        allow_abbrev=False,
    )
    for short, name, default in (
        ("-p", "--envoy-port", "15001"),
        ("-z", "--inbound-capture-port", "15006"),
        ("-e", "--inbound-tunnel-port", "15008"),
        ("-u", "--proxy-uid", ""),
        ("-g", "--proxy-gid", ""),
        ("-m", "--istio-inbound-interception-mode", "REDIRECT"),
        ("-b", "--istio-inbound-ports", ""),
        ("-d", "--istio-local-exclude-ports", ""),
        ("-c", "--istio-exclude-interfaces", ""),
        ("-i", "--istio-service-cidr", ""),
        ("-x", "--istio-service-exclude-cidr", ""),
        ("-q", "--istio-outbound-ports", ""),
        ("-o", "--istio-local-outbound-ports-exclude", ""),
        ("-k", "--kube-virt-interfaces", ""),
        ("-t", "--istio-inbound-tproxy-mark", "1337"),
        ("-r", "--istio-inbound-tproxy-route-table", "133"),
    ):
        parser.add_argument(short, name, default=default)
    parser.add_argument("-n", "--dry-run", action="store_true")
    for name in (
        "skip-rule-apply", "run-validation", "redirect-dns", "capture-all-dns", "drop-invalid", "dual-stack",
        "cni-mode", "reconcile", "cleanup-only", "force-apply", "native-nftables",
    ):  # fmt: skip
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("--network-namespace", "--iptables-probe-port", "--probe-timeout"):
        parser.add_argument(name, default="")  # the probe belongs to --run-validation
    parser.add_argument("--force-iptables-binary", default="", choices=("", "legacy", "nft"))
    return parser


def _refuse(given: argparse.Namespace) -> None:
    if given.istio_inbound_interception_mode != "REDIRECT":
        raise OptionError(
            f"istio-inbound-interception-mode {given.istio_inbound_interception_mode} is not supported, only REDIRECT"
        )
    for name in (
        "run_validation",
        "redirect_dns",
        "capture_all_dns",
        "dual_stack",
        "cni_mode",
        "network_namespace",
        "native_nftables",
    ):
        if getattr(given, name):
            raise OptionError(f"{name.replace('_', '-')} is not supported")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _port(name: str, text: str) -> str:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise OptionError(f"{name}: {text!r} is not a port")
    return text


def _ports(name: str, text: str) -> tuple[str, ...]:
    return tuple(port if port == ALL else _port(name, port) for port in _list(text))


def _ranges(name: str, text: str) -> tuple[str, ...]:
    for item in _list(text):
        try:
            item == ALL or ipaddress.IPv4Network(item, strict=False)
        except ValueError as error:
            raise OptionError(f"{name}: {item!r} is not an IPv4 range") from error
    return _list(text)
