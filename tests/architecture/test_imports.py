"""Who may import whom inside the sidecar, and which files decide without doing any I/O."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A layer may import itself and every layer after it; one line may hold several layers of the same height.
LAYERS = (
    {"server", "__main__", "configuration", "data_plane", "workers", "readiness", "drain", "lean_imports"},
    {"xds", "admin", "agent", "bootstrap"},
    {"net", "http"},
    {"router"},
    {"upstream"},
    {"tls"},
    {"observability"},
    {"config"},
)
# Small modules without dependencies of their own, for everybody.
EVERYWHERE = {"clock", "deadlines", "compiled"}

# Within the layer of net and http, http uses net and never the other way round.
FORBIDDEN = (("net", "http"),)

# Core: decides, and does no I/O.
CORE = (
    "proxy/config/*.py",
    "proxy/deadlines.py",
    "proxy/router/*.py",
    "proxy/upstream/lb/*.py",
    "proxy/upstream/automatic_names.py",
    "proxy/upstream/circuit_breaker.py",
    "proxy/upstream/cluster_builder.py",
    "proxy/upstream/cluster_manager.py",
    "proxy/upstream/cluster_stats.py",
    "proxy/upstream/failure.py",
    "proxy/upstream/host.py",
    "proxy/upstream/host_set.py",
    "proxy/upstream/merged_updates.py",
    "proxy/upstream/opaque.py",
    "proxy/upstream/outlier_detection.py",
    "proxy/upstream/outlier_monitor.py",
    "proxy/upstream/retry_budget.py",
    "proxy/upstream/success_rate.py",
    "proxy/upstream/cluster.py",
    "proxy/http/codec/*.py",
    "proxy/http/filter_chain.py",
    "proxy/http/hcm_builder.py",
    "proxy/http/hcm_stats.py",
    "proxy/http/local_reply.py",
    "proxy/http/path_normalization.py",
    "proxy/http/request_headers.py",
    "proxy/http/rate_limiter.py",
    "proxy/http/settings.py",
    "proxy/http/token_bucket.py",
    "proxy/net/filter_chain_match.py",
    "proxy/net/flow.py",
    "proxy/net/listener_builder.py",
    "proxy/net/listener_stats.py",
    "proxy/net/sniff.py",
)
IO_MODULES = {"asyncio", "socket", "ssl", "time", "random", "select", "subprocess", "threading"}


def modules() -> Iterator[Path]:
    return (path for path in sorted((ROOT / "proxy").rglob("*.py")) if "__pycache__" not in path.parts)


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports when it runs (not those for type checking alone)."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "proxy":
                yield from (f"proxy.{alias.name}" for alias in node.names)
            else:
                yield node.module


def part(module: str) -> str:
    return module.split(".")[1]


def height(name: str) -> int:
    for level, layer in enumerate(LAYERS):
        if name in layer:
            return level
    raise AssertionError(f"proxy/{name} has no layer: add it to LAYERS")


@pytest.mark.parametrize("path", list(modules()), ids=lambda path: str(path.relative_to(ROOT)))
def test_dependencies_point_downwards(path: Path) -> None:
    own = path.relative_to(ROOT / "proxy").parts[0].removesuffix(".py")
    if own in EVERYWHERE or own == "__init__":
        return
    for module in imports(path):
        package = module.split(".")[0]
        assert package not in {"control", "node", "cli", "demo_apps"}, f"the sidecar imports {module}"
        if package != "proxy" or module == "proxy" or part(module) in EVERYWHERE:
            continue
        assert height(part(module)) >= height(own), f"{own} imports {module}"
        assert (own, part(module)) not in FORBIDDEN, f"{own} imports {module}"


def core_files() -> list[Path]:
    return [p for p in modules() if any(fnmatch.fnmatch(str(p.relative_to(ROOT)), one) for one in CORE)]


@pytest.mark.parametrize("path", core_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_core_does_no_io(path: Path) -> None:
    used = {module.split(".")[0] for module in imports(path)} & IO_MODULES
    assert not used, f"{path.relative_to(ROOT)} is core and imports {sorted(used)}"


def test_every_core_pattern_matches_a_file() -> None:
    known = [str(path.relative_to(ROOT)) for path in modules()]
    assert [one for one in CORE if not fnmatch.filter(known, one)] == []


# What requests match, and what routes say, are values that any filter may look at.
ROUTER_VALUES = {"proxy.router.conditions", "proxy.router.header_ops", "proxy.router.route"}


def test_filters_know_neither_each_other_nor_the_upstream() -> None:
    for path in (ROOT / "proxy/http/filters").glob("*.py"):
        for module in imports(path):
            assert not module.startswith(("proxy.http.filters.", "proxy.upstream"))
            # The terminal filter is the one that hands over to the router.
            known = path.name == "router.py" or module in ROUTER_VALUES
            assert known or not module.startswith("proxy.router"), f"{path.name} imports {module}"
