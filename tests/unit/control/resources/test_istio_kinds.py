"""What the Istio kinds refuse and warn of, with path and wording."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import pytest

from control.resources import gateway, peer_authentication
from control.resources.istio_kinds import ISTIO_KINDS
from control.resources.istio_object import IstioObject, istio_validator
from control.resources.istio_types import NOT_YET, host_matches, parse_duration
from control.resources.kind import FieldError, Kind
from control.resources.model import Model


def _errors(kind: Kind, spec: dict[str, Any]) -> list[str]:
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x"}, "spec": spec}
    return [str(error) for error in kind.validate(obj).errors]


class _Part(Model):
    idle: Annotated[dict[str, str] | None, NOT_YET] = None
    works: str | None = None

    def doubts(self) -> Iterator[FieldError]:
        if self.works == "perhaps":
            yield FieldError("works", "is doubtful")


class _Spec(Model):
    parts: list[_Part] | None = None
    whole: Annotated[_Part | None, NOT_YET] = None


class _Thing(IstioObject):
    spec: _Spec


def test_doubts_and_what_has_no_effect_yet_are_warnings() -> None:
    parts = [{"works": "perhaps"}, {"idle": {}, "works": "yes"}]
    spec = {"parts": parts, "whole": {"works": "perhaps"}}
    verdict = istio_validator(_Thing)({"metadata": {"name": "x"}, "spec": spec})
    assert not verdict.errors
    assert verdict.warnings == (
        "spec.whole is accepted but not acted on yet",
        "spec.parts[0].works: is doubtful",
        "spec.parts[1].idle is accepted but not acted on yet",
    )


def _server(**changes: Any) -> dict[str, Any]:
    return {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"], **changes}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"servers": [_server()]}, []),
        ({"servers": []}, ["spec.servers: gateway must have at least one server"]),
        (
            {"servers": [_server(hosts=[])]},
            ["spec.servers[0].hosts: server config must contain at least one host"],
        ),
        ({"servers": [_server(hosts=["short"])]}, 1),
        ({"servers": [_server(), _server()]}, 1),
        (
            {"servers": [_server(tls={"mode": "SIMPLE", "credentialName": "x"})]},
            ["spec.servers[0].tls: server cannot have TLS settings for non HTTPS/TLS ports"],
        ),
        ({"servers": [_server(tls={"httpsRedirect": True})]}, []),
        (
            {"servers": [_server(port={"number": 443, "name": "https", "protocol": "HTTPS"})]},
            ["spec.servers[0].tls: server must have TLS settings for HTTPS/TLS protocols"],
        ),
        ({"servers": [_server(port={"number": 80, "name": "x", "protocol": "SMTP"})]}, 1),
    ],
)
def test_gateway(spec: dict[str, Any], errors: list[str] | int) -> None:
    found = _errors(gateway.KIND, spec)
    assert (len(found) if isinstance(errors, int) else found) == errors


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ({"mtls": {"mode": "STRICT"}}, 0),
        ({"portLevelMtls": {"80": {"mode": "STRICT"}}}, 1),
        ({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"80": {"mode": "STRICT"}}}, 0),
        ({"selector": {"matchLabels": {"a": "*"}}, "portLevelMtls": {"0": {}}}, 2),
        ({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"0": {}, "x": {}}}, 2),
    ],
)
def test_peer_authentication(spec: dict[str, Any], count: int) -> None:
    assert len(_errors(peer_authentication.KIND, spec)) == count


@pytest.mark.parametrize("kind", ISTIO_KINDS, ids=lambda kind: kind.kind)
def test_columns_and_schema(kind: Kind) -> None:
    empty = {"metadata": {"name": "x"}, "spec": {}}
    assert all(isinstance(column.cell(empty), str) for column in kind.columns)
    assert kind.schema["properties"]["spec"]["type"] == "object"
    assert kind.versions[0] == "v1"


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m30s", 90), ("250ms", 0.25), ("0s", 0), (".5s", 0.5), ("1h", 3600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert float(parse_duration(text)) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1s x"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("*", "a.b", True),
        ("*.b", "a.b", True),
        ("*.b", "*.a.b", True),
        ("*.a.b", "*.b", False),
        ("a.b", "a.b", True),
        ("*.b", "b", False),
    ],
)
def test_host_matches(wide: str, narrow: str, covers: bool) -> None:
    assert host_matches(wide, narrow) is covers


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        (_server(), False),
        (_server(port={"number": 443, "name": "tls", "protocol": "TLS"}, tls={"mode": "PASSTHROUGH"}), True),
        (_server(port={"number": 9000, "name": "tcp", "protocol": "TCP"}), True),
        (
            _server(
                port={"number": 443, "name": "https", "protocol": "HTTPS"},
                tls={"mode": "SIMPLE", "credentialName": "x"},
            ),
            False,
        ),
    ],
)
def test_servers_no_listener_is_made_for_are_a_warning(server: dict[str, Any], warned: bool) -> None:
    verdict = gateway.KIND.validate({"metadata": {"name": "x"}, "spec": {"servers": [server]}})
    assert not verdict.errors
    assert verdict.warnings == (("spec.servers[0] is accepted but not acted on yet",) if warned else ())
