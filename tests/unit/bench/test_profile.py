"""Samples become stages: what a stack stands for, which stage a file belongs to, and that stages sum up to the whole."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.profile import functions, native, stages

KERNEL = "[kernel.kallsyms]"
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
SCRIPT = """
\tffffffff81f39ae7 tcp_ack ([kernel.kallsyms])
\tffffffff81e30d08 tcp_sendmsg+0x10 ([kernel.kallsyms])
\t          10afa8 __send (/usr/lib/x86_64-linux-gnu/libc.so.6)

\t          128d87 [unknown] (/usr/bin/python3.11)
"""


def test_stacks_are_read_from_what_perf_prints() -> None:
    first, second = native.stacks(SCRIPT.splitlines(keepends=True))
    assert first == [("tcp_ack", KERNEL), ("tcp_sendmsg", KERNEL), ("__send", LIBC)]
    assert second == [("[unknown]", "/usr/bin/python3.11")]


@pytest.mark.parametrize(
    ("stack", "wanted"),
    [
        ([("tcp_ack", KERNEL), ("tcp_sendmsg", KERNEL), ("__send", LIBC)], native.SEND),
        ([("x", KERNEL), ("try_to_wake_up", KERNEL), ("tcp_sendmsg", KERNEL)], native.WAKE),
        ([("do_syscall_64", KERNEL), ("__GI___libc_write", LIBC)], native.SEND),
        ([("do_syscall_64", KERNEL), ("read", LIBC)], native.RECEIVE),
        ([("ext4_x", KERNEL), ("vfs_write", KERNEL), ("ksys_write", KERNEL), ("__libc_write", LIBC)], native.KERNEL),
        ([("ep_poll", KERNEL), ("do_epoll_wait", KERNEL)], native.EPOLL),
        ([("asm_exc_page_fault", KERNEL), ("_PyEval_EvalFrameDefault", "/usr/bin/python3.11")], native.KERNEL),
        ([("gcm", "/usr/lib/libcrypto.so.3")], native.OPENSSL),
        ([("_PyEval_EvalFrameDefault", "/usr/bin/python3.11")], native.USER),
    ],
)  # fmt: skip
def test_a_sample_is_of_a_kind(stack: list[native.Frame], wanted: str) -> None:
    assert native.kind(stack) == wanted


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("/x/proxy/net/connection.py", stages.SOCKETS),
        ("/x/proxy/net/flow.py", stages.FLOW),
        ("/x/proxy/http/codec/h1_httptools.py", stages.PARSE),
        ("/x/proxy/http/codec/h1_encode.py", stages.HEADERS),
        ("/x/proxy/router/router.py", stages.FLOW),
        ("/x/proxy/router/route_index.py", stages.ROUTING),
        ("/x/proxy/upstream/pool.py", stages.UPSTREAM),
        ("/x/proxy/upstream/cluster_stats.py", stages.STATS),
        ("/x/proxy/new/thing.py", stages.FLOW),
        ("/x/proxy/observability/access_log_format.py", stages.LOG),
        ("", stages.LOOP),
    ],
)
def test_a_file_belongs_to_a_stage(file: str, wanted: str) -> None:
    assert stages.stage_of(file) == wanted


def test_every_prefix_is_of_a_file_that_exists() -> None:
    proxy = Path(__file__).parents[3] / "proxy"
    files = [str(file.relative_to(proxy)) for file in proxy.rglob("*.py")]
    for prefix in stages._STAGE_OF:
        assert any(file.startswith(prefix) for file in files), prefix


def test_a_compiled_function_is_found_by_its_symbol() -> None:
    modules = native.symbols_of(["proxy.router.router", "proxy.http.filters.router", "proxy.net.connection"])
    so = "/x/a__mypyc.so"
    for symbol, wanted in (
        ("CPyDef_connection___Connection____readable", ("/proxy/net/connection.py", "Connection._readable")),
        (
            "CPyDef_router___router____try_host__Forwarding_gen_____mypyc_generator_helper__",
            ("/proxy/router/router.py", "_try_host__Forwarding"),
        ),
        (
            "CPyDunder_am_sendrouter___router___run__Forwarding_gen",
            ("/proxy/router/router.py", "run__Forwarding"),
        ),
        ("CPyIter_Send", ("", "event loop")),
    ):
        stack = [("PyObject_VectorcallMethod", "/usr/bin/python3.11"), (symbol, so)]
        assert native.compiled_function(stack, modules) == wanted


def test_our_stages_sum_up_and_native_code_is_not_counted_twice() -> None:
    machine = Counter({native.SEND: 30, native.OPENSSL: 10, native.EPOLL: 5, native.USER: 55})
    samples = Counter({stages.SOCKETS: 50, stages.LOOP: 10, stages.PARSE: 40})
    found = stages.from_source(200.0, machine, samples)
    assert sum(found.values()) == pytest.approx(200.0)
    assert found[native.SEND] == pytest.approx(60.0)
    # 50 % less sending and OpenSSL's 40 %, 10 % less the 5 % of epoll.
    assert found[stages.SOCKETS] == pytest.approx(20.0)
    assert found[stages.LOOP] == pytest.approx(10.0)
    assert stages.floor(found) == pytest.approx(90.0)


def test_envoys_user_space_is_one_stage() -> None:
    found = stages.envoy(100.0, Counter({native.SEND: 25, native.USER: 75}))
    assert found == {native.SEND: 25.0, stages.ENVOY: 75.0}


def test_what_is_compiled_is_seen_by_one_sampler() -> None:
    kinds = Counter({native.SEND: 30, native.OPENSSL: 10, native.USER: 60})
    found = stages.compiled(50.0, kinds, Counter({stages.PARSE: 20, stages.LOOP: 40}))
    assert found == {native.SEND: 15.0, native.OPENSSL: 5.0, stages.PARSE: 10.0, stages.LOOP: 20.0}


def test_functions_by_own_time() -> None:
    samples = Counter({("/x/proxy/a.py", "f"): 3, ("", "event loop"): 1})
    assert functions.by_name(samples, 80.0) == [("proxy/a.py f", 60.0), ("event loop", 20.0)]
    assert stages.by_stage(samples) == {stages.FLOW: 3, stages.LOOP: 1}


def test_the_chart_has_a_bar_for_each_sidecar(tmp_path: Path) -> None:
    chart = pytest.importorskip("bench.profile.chart")
    found = {native.SEND: 20.0, stages.PARSE: 10.0}
    document = {"peers": {"Envoy": {"client": {"stages": found}}, "Glassmesh": {"client": {"stages": found}}}}
    svg, png = chart.draw(document, tmp_path)
    assert svg.read_text().startswith("<?xml")
    assert png.stat().st_size > 1000
