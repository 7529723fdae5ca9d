"""Rules for opaque connections that match the same: the first has it, and Envoy gets no two chains with one match."""

from __future__ import annotations

from typing import Any

import pytest

from control.compile.tcp_route import first_wins

A, B = ({"address_prefix": prefix, "prefix_len": 8} for prefix in ("10.0.0.0", "11.0.0.0"))


def _chain(name: str, **match: Any) -> dict[str, Any]:
    return {"filters": [name], **({"filter_chain_match": match} if match else {})}


@pytest.mark.parametrize(
    ("chains", "left"),
    [
        (
            [_chain("x", server_names=["a"]), _chain("y", server_names=["a"])],
            [_chain("x", server_names=["a"])],
        ),
        (
            [_chain("x", server_names=["a"]), _chain("y", server_names=["a", "b"])],
            [_chain("x", server_names=["a"]), _chain("y", server_names=["b"])],
        ),
        ([_chain("x", server_names=["a", "a"])], [_chain("x", server_names=["a"])]),
        (
            [
                _chain("x", prefix_ranges=[A]),
                _chain("y", prefix_ranges=[A, B]),
                _chain("z", prefix_ranges=[B]),
            ],
            [_chain("x", prefix_ranges=[A]), _chain("y", prefix_ranges=[B])],
        ),
        (
            [
                _chain("x", server_names=["a"], prefix_ranges=[A]),
                _chain("y", server_names=["a", "b"], prefix_ranges=[A, B]),
            ],
            [
                _chain("x", server_names=["a"], prefix_ranges=[A]),
                _chain("y", server_names=["a"], prefix_ranges=[B]),
                _chain("y", server_names=["b"], prefix_ranges=[A, B]),
            ],
        ),
        ([_chain("x", server_names=["a"]), _chain("y", prefix_ranges=[A]), _chain("z")],) * 2,
    ],
)
def test_the_first_of_equal_matches_wins(chains: list[Any], left: list[Any]) -> None:
    assert list(first_wins(chains)) == left
