"""Headers of which Envoy holds one value: what is added to them is joined to it by a comma.

Facts only, for whoever reads messages and whoever changes them.
Reference: Envoy envoy/http/header_map.h (inline headers), and the extensions that register more.
"""

from __future__ import annotations

JOINED = frozenset(
    b"""accept accept-encoding access-control-request-headers access-control-request-method authorization cache-control
    connection content-encoding content-type expect grpc-accept-encoding grpc-timeout host if-match if-modified-since
    if-none-match if-range if-unmodified-since keep-alive origin pragma proxy-connection proxy-status referer te upgrade
    user-agent via
    x-client-trace-id x-envoy-attempt-count x-envoy-decorator-operation x-envoy-downstream-service-cluster
    x-envoy-downstream-service-node x-envoy-external-address x-envoy-original-host x-envoy-original-path
    x-forwarded-client-cert
    x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-request-id""".split()
)
JOINED_IN_ANSWERS = frozenset(
    b"""access-control-allow-origin age cache-control content-encoding content-type date etag grpc-status last-modified
    location vary via x-envoy-attempt-count""".split()
)
