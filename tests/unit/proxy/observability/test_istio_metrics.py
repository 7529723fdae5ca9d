"""Istio's metrics: label values from both sides, TCP counts over time, handles found once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.observability import response_flags
from proxy.observability.istio_metrics import DESTINATION, HTTP_LABELS, SOURCE, TCP_LABELS, IstioMetrics
from proxy.observability.prometheus import exposition
from proxy.observability.stats import Histogram, StatsStore
from proxy.observability.stream_info import StreamInfo
from proxy.observability.workload import Service, Upstream, Workload, workload_of_endpoint, workload_of_node

OWN = Workload("productpage-v1", "default", "productpage", "v1", "Kubernetes", "productpage", "v1")
REVIEWS = Workload("reviews-v2", "default", "reviews", "v2", "Kubernetes", "reviews", "v2")
SERVICE = Service("reviews.default.svc.cluster.local", "reviews", "default")
OWN_ID, REVIEWS_ID = (
    "spiffe://cluster.local/ns/default/sa/productpage",
    "spiffe://cluster.local/ns/default/sa/reviews",
)


def stream(**fields: Any) -> StreamInfo:
    info = StreamInfo()
    info.method, info.authority = b"GET", b"reviews:9080"
    info.response_code, info.start, info.end = 200, 1.0, 1.02
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def labels_of(store: StatsStore, family: str = "istio_requests_total") -> list[dict[str, str]]:
    found = next(f for f in store.families() if f.name == family)
    return [dict(zip(found.labels, values, strict=True)) for values in found.counters]


def test_source_sees_both_sides() -> None:
    store = StatsStore()
    log = IstioMetrics(store, OWN, lambda: OWN_ID).http_logger(SOURCE)
    log(stream(upstream_metadata=Upstream(SERVICE, REVIEWS), upstream_peer_uri_san=REVIEWS_ID))
    (labels,) = labels_of(store)
    assert tuple(labels) == HTTP_LABELS
    assert labels == {
        "reporter": "source",
        "source_workload": "productpage-v1",
        "source_canonical_service": "productpage",
        "source_canonical_revision": "v1",
        "source_workload_namespace": "default",
        "source_principal": OWN_ID,
        "source_app": "productpage",
        "source_version": "v1",
        "source_cluster": "Kubernetes",
        "destination_workload": "reviews-v2",
        "destination_workload_namespace": "default",
        "destination_principal": REVIEWS_ID,
        "destination_app": "reviews",
        "destination_version": "v2",
        "destination_service": "reviews.default.svc.cluster.local",
        "destination_canonical_service": "reviews",
        "destination_canonical_revision": "v2",
        "destination_service_name": "reviews",
        "destination_service_namespace": "default",
        "destination_cluster": "Kubernetes",
        "request_protocol": "http",
        "response_code": "200",
        "grpc_response_status": "",
        "response_flags": "-",
        "connection_security_policy": "unknown",
    }


def test_destination_knows_the_peer_by_its_certificate() -> None:
    store = StatsStore()
    log = IstioMetrics(store, REVIEWS, lambda: REVIEWS_ID).http_logger(DESTINATION)
    log(stream(downstream_peer_uri_san=OWN_ID, downstream_local_uri_san=REVIEWS_ID, response_code=403))
    (labels,) = labels_of(store)
    assert labels["connection_security_policy"] == "mutual_tls"
    assert (labels["source_principal"], labels["source_workload_namespace"]) == (OWN_ID, "default")
    assert (labels["source_workload"], labels["source_canonical_revision"]) == ("unknown", "latest")
    assert (labels["destination_workload"], labels["response_code"]) == ("reviews-v2", "403")
    # The Host header is the client's word; the server never reports it.
    assert labels["destination_service"] == "unknown"


def test_plaintext_and_unknown_destination() -> None:
    store = StatsStore()
    metrics = IstioMetrics(store, OWN, lambda: OWN_ID)
    metrics.http_logger(DESTINATION)(stream())
    metrics.http_logger(SOURCE)(stream(response_code=503, response_flags=response_flags.UH))
    by_reporter = {labels["reporter"]: labels for labels in labels_of(store)}
    assert by_reporter["destination"]["connection_security_policy"] == "none"
    assert by_reporter["source"]["destination_service"] == "reviews:9080"
    assert by_reporter["source"]["source_principal"] == "unknown"
    assert by_reporter["source"]["response_flags"] == "UH"


def test_policy_clusters_name_the_destination() -> None:
    store = StatsStore()
    IstioMetrics(store, OWN, lambda: None).http_logger(SOURCE)(stream(upstream_cluster="PassthroughCluster"))
    assert labels_of(store)[0]["destination_service_name"] == "PassthroughCluster"


def test_grpc_has_its_own_protocol_and_status() -> None:
    store = StatsStore()
    log = IstioMetrics(store, OWN, lambda: None).http_logger(SOURCE)
    log(stream(grpc_status=14, request_headers=[(b"content-type", b"application/grpc")]))
    (labels,) = labels_of(store)
    assert (labels["request_protocol"], labels["grpc_response_status"]) == ("grpc", "14")


def test_same_combination_same_series_and_histograms_in_ms() -> None:
    store = StatsStore()
    log = IstioMetrics(store, OWN, lambda: None).http_logger(SOURCE)
    for _ in range(3):
        log(stream(wire_bytes_received=120, wire_bytes_sent=1300))
    text = exposition(store, lambda name: "request_duration" in name or "requests_total" in name)
    assert len(labels_of(store)) == 1
    assert 'le="25"} 3' in text
    assert 'le="10"} 0' in text


def test_tcp_counts_while_open_and_at_the_end() -> None:
    store = StatsStore()
    metrics = IstioMetrics(store, OWN, lambda: OWN_ID)
    info = stream(method=b"", upstream_metadata=Upstream(SERVICE, REVIEWS))

    def values() -> list[int]:
        return [sum(c.value for c in f.counters.values()) for f in store.families() if "tcp" in f.name]

    metrics.tcp_opened(SOURCE, info)
    metrics.flush_tcp()
    assert values() == [0, 0, 0, 0]  # not connected yet: nobody to count it for
    info.upstream_host, info.bytes_sent, info.bytes_received = "10.0.0.1:9000", 10, 20
    metrics.flush_tcp()
    metrics.flush_tcp()
    assert values() == [1, 0, 10, 20]
    info.bytes_sent = 15
    metrics.tcp_closed(info)
    metrics.tcp_closed(info)
    assert values() == [1, 1, 15, 20]
    assert tuple(labels_of(store, "istio_tcp_sent_bytes_total")[0]) == TCP_LABELS
    assert labels_of(store, "istio_tcp_sent_bytes_total")[0]["request_protocol"] == "tcp"


def test_a_connection_that_never_reached_anyone_is_opened_and_closed() -> None:
    store = StatsStore()
    metrics = IstioMetrics(store, OWN, lambda: None)
    info = stream(response_flags=response_flags.UF)
    metrics.tcp_opened(DESTINATION, info)
    metrics.tcp_closed(info)
    assert [
        sum(c.value for c in f.counters.values()) for f in store.families() if "connections" in f.name
    ] == [1, 1]


def test_build_is_a_gauge() -> None:
    store = StatsStore()
    IstioMetrics(store, OWN, lambda: None, version="0.1.0")
    assert '# TYPE istio_build gauge\nistio_build{component="proxy",tag="0.1.0"} 1\n' in exposition(store)


def test_workload_notations() -> None:
    endpoint = workload_of_endpoint("reviews-v1;default;reviews;v1;Kubernetes")
    assert (endpoint.name, endpoint.canonical_revision, endpoint.cluster) == (
        "reviews-v1",
        "v1",
        "Kubernetes",
    )
    assert workload_of_endpoint("").canonical_revision == "latest"
    node = workload_of_node({
        "WORKLOAD_NAME": "reviews-v2", "NAMESPACE": "d", "CLUSTER_ID": "Kubernetes",
        "LABELS": {"app": "reviews", "version": "v2", "service.istio.io/canonical-name": "r"},
    })  # fmt: skip
    assert (node.name, node.canonical_service, node.canonical_revision, node.app) == (
        "reviews-v2",
        "r",
        "v2",
        "reviews",
    )
    assert workload_of_node({}).name == ""


@given(st.integers(0, 4_000_000), st.integers(0, 2000), st.floats(0, 4000))
def test_values_fall_into_the_buckets_a_histogram_would_choose(
    received: int, sent: int, seconds: float
) -> None:
    store = StatsStore()
    info = stream(start=0.0, end=seconds, wire_bytes_received=received, wire_bytes_sent=sent)
    IstioMetrics(store, OWN, lambda: None).http_logger(SOURCE)(info)
    found = {histogram.name.split(";")[0]: histogram for histogram in store.histograms()}
    for name, value in (
        ("duration_milliseconds", seconds * 1000), ("bytes", received), ("response_bytes", sent),
    ):  # fmt: skip
        expected = Histogram("x")
        expected.record(value)
        kind = name if name == "response_bytes" else f"request_{name}"
        recorded = found[f"istiocustom.istio_{kind}"]
        assert (recorded.counts, recorded.sum) == (expected.counts, expected.sum)
