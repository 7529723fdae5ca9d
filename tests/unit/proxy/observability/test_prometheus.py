"""Prometheus text: names, tags, TYPE lines and escaping, as a parser reads them back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from proxy.observability.prometheus import exposition, extract
from proxy.observability.stats import StatsStore

NAMES = [
    ("cluster_manager.cds.update_success", "cluster_manager_cds_update_success", {}),
    ("server.live", "server_live", {}),
    ("cluster.outbound|9080||reviews.default.svc.cluster.local.upstream_rq_503", "cluster_upstream_rq",
     {"cluster_name": "outbound|9080||reviews.default.svc.cluster.local", "response_code": "503"}),
    ("cluster.outbound|9080|v1|reviews.default.svc.cluster.local;.upstream_rq_5xx", "cluster_upstream_rq",
     {"cluster_name": "outbound|9080|v1|reviews.default.svc.cluster.local", "response_code_class": "5xx"}),
    ("cluster.inbound|9080||.upstream_cx_total", "cluster_upstream_cx_total", {"cluster_name": "inbound|9080||"}),
    ("cluster.xds-rest.circuit_breakers.default.cx_open", "cluster_circuit_breakers_default_cx_open",
     {"cluster_name": "xds-rest"}),
    ("http.inbound_0.0.0.0_9080.downstream_rq_2xx", "http_downstream_rq",
     {"http_conn_manager_prefix": "inbound_0.0.0.0_9080", "response_code_class": "2xx"}),
    ("http.outbound_0.0.0.0_9080;.downstream_cx_total", "http_downstream_cx_total",
     {"http_conn_manager_prefix": "outbound_0.0.0.0_9080"}),
    ("http.admin.downstream_rq_total", "http_downstream_rq_total", {"http_conn_manager_prefix": "admin"}),
    ("http.inbound_0.0.0.0_9080.rbac.denied", "http_rbac",
     {"http_conn_manager_prefix": "inbound_0.0.0.0_9080", "authz_enforce_result": "denied"}),
    ("listener.0.0.0.0_15006.downstream_cx_active", "listener_downstream_cx_active", {"listener_address": "0.0.0.0_15006"}),
    ("tcp.PassthroughCluster.downstream_cx_total", "tcp_downstream_cx_total", {"tcp_prefix": "PassthroughCluster"}),
]  # fmt: skip


@pytest.mark.parametrize(("dotted", "name", "labels"), NAMES)
def test_names_and_tags(dotted: str, name: str, labels: dict[str, str]) -> None:
    assert extract(dotted)[0] == name
    assert dict(extract(dotted)[1]) == labels


def test_a_parser_reads_every_family_once() -> None:
    store = StatsStore()
    store.counter("cluster.a.upstream_rq_200").value = 3
    store.counter("cluster.b.upstream_rq_200").value = 4
    store.gauge("server.live").value = 1
    store.histogram("server.initialization_time_ms").record(145)
    store.histogram("cluster.a.upstream_rq_time").record(2)
    store.histogram("cluster.b.upstream_rq_time").record(2)
    text = exposition(store)
    types = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types)) == 4
    families = {f.name: f for f in text_string_to_metric_families(text)}
    assert {s.labels["cluster_name"]: s.value for s in families["envoy_cluster_upstream_rq"].samples} == {
        "a": 3,
        "b": 4,
    }
    assert "envoy_server_live{} 1\n" in text
    assert 'envoy_server_initialization_time_ms_bucket{le="250"} 1\n' in text
    assert "envoy_server_initialization_time_ms_sum{} 145\n" in text


def test_istio_families_keep_their_name_and_label_order() -> None:
    store = StatsStore()
    store.family("istio_requests_total", ("reporter", "app")).counter(("source", "x")).value = 7
    assert exposition(store) == (
        '# TYPE istio_requests_total counter\nistio_requests_total{reporter="source",app="x"} 7\n'
    )


def test_filter_and_usedonly() -> None:
    store = StatsStore()
    store.counter("a").value = 0
    store.counter("b").value = 1
    assert "envoy_a" not in exposition(store, used_only=True)
    assert exposition(store, lambda name: name == "c") == ""


@given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from('\\"\n')))
def test_any_label_value_comes_back(value: str) -> None:
    store = StatsStore()
    store.family("f", ("l",)).counter((value,)).value = 1
    (family,) = text_string_to_metric_families(exposition(store))
    assert family.samples[0].labels == {"l": value}
