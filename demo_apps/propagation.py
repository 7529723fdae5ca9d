"""The request headers a Bookinfo service hands on to the services it calls.

A mesh can join the spans of one request only if the app copies these from the request it got to the requests it makes;
`end-user` is Bookinfo's own, for routing by user. The list is the Istio sample's, and every service keeps the same one.
"""

from __future__ import annotations

from demo_apps.http_message import Headers

FORWARDED = frozenset(
    {
        "x-request-id",
        # Tracing: B3 (both forms), W3C, Lightstep, Datadog, Google Cloud, OpenCensus, SkyWalking.
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
        "traceparent",
        "tracestate",
        "x-ot-span-context",
        "x-datadog-trace-id",
        "x-datadog-parent-id",
        "x-datadog-sampling-priority",
        "x-cloud-trace-context",
        "grpc-trace-bin",
        "sw8",
        # Who is asking.
        "end-user",
        "user-agent",
        "cookie",
        "authorization",
        "jwt",
    }
)


def forwarded(headers: Headers) -> Headers:
    """The headers to hand on, in the order and case received."""
    return [(name, value) for name, value in headers if name.lower() in FORWARDED]
