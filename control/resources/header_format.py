"""Values of headers as Envoy reads them: text with command operators, `%REQ(x-user):10%`; `%%` is a percent sign.

Decides what Envoy would refuse with the whole route table, so that it is refused when it is applied. The operators are those Envoy 1.40
takes in a header. Reference: Envoy's "Access logging", command operators; istio's ValidateHTTPHeaderValue.
"""

from __future__ import annotations

import json
import re

MAX_LENGTH = 16384  # bytes; envoy's HeaderValue

_COMMAND = re.compile(r"%([A-Z0-9_]+)(\([^)]*\))?(:\d+)?%")
_COMMAND_OR_PERCENT = re.compile(f"%%|{_COMMAND.pattern}")
_NOT_IN_VALUE = re.compile(r"[\0\r\n]")
_DOWNSTREAM_CERTIFICATE = (
    "PEER_CERT PEER_CHAIN_FINGERPRINTS_1 PEER_CHAIN_FINGERPRINTS_256 PEER_CHAIN_SERIALS PEER_DNS_SAN PEER_EMAIL_SAN "
    "PEER_FINGERPRINT_1 PEER_FINGERPRINT_256 PEER_IP_SAN PEER_ISSUER PEER_OTHERNAME_SAN PEER_SERIAL PEER_SUBJECT PEER_URI_SAN "
    "LOCAL_DNS_SAN LOCAL_EMAIL_SAN LOCAL_OTHERNAME_SAN LOCAL_IP_SAN LOCAL_SUBJECT LOCAL_URI_SAN TLS_CIPHER TLS_SESSION_ID TLS_VERSION"
)
_DOWNSTREAM = (
    "DIRECT_LOCAL_ADDRESS DIRECT_REMOTE_ADDRESS DIRECT_REMOTE_PORT HANDSHAKE_DURATION HEADER_BYTES_RECEIVED HEADER_BYTES_SENT "
    "LOCAL_ADDRESS LOCAL_ADDRESS_ENDPOINT_ID LOCAL_PORT LOCAL_CLOSE_REASON DETECTED_CLOSE_TYPE REMOTE_ADDRESS REMOTE_PORT "
    "TRANSPORT_FAILURE_REASON WIRE_BYTES_RECEIVED WIRE_BYTES_SENT"
)
_UPSTREAM = (
    "CLUSTER CLUSTER_RAW CONNECTION_ID CONNECTION_POOL_READY_DURATION DETECTED_CLOSE_TYPE HEADER_BYTES_RECEIVED HEADER_BYTES_SENT "
    "HOST HOSTS_ATTEMPTED HOSTS_ATTEMPTED_WITHOUT_PORT HOST_NAMES_ATTEMPTED HOST_NAME HOST_NAME_WITHOUT_PORT CONNECTION_IDS_ATTEMPTED "
    "LOCAL_ADDRESS LOCAL_CLOSE_REASON LOCAL_DNS_SAN LOCAL_IP_SAN LOCAL_PORT LOCAL_URI_SAN PEER_CERT PEER_DNS_SAN PEER_IP_SAN "
    "PEER_ISSUER PEER_SUBJECT PEER_URI_SAN PROTOCOL REMOTE_ADDRESS REMOTE_ADDRESS_ENDPOINT_ID REMOTE_PORT REQUEST_ATTEMPT_COUNT "
    "TLS_CIPHER TLS_SESSION_ID TLS_VERSION TRANSPORT_FAILURE_REASON WIRE_BYTES_RECEIVED WIRE_BYTES_SENT"
)
_OTHERS = (
    "ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS DURATION FILTER_CHAIN_NAME "
    "GRPC_STATUS GRPC_STATUS_NUMBER HOSTNAME TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT LOCAL_REPLY_BODY PROTOCOL REQUESTED_SERVER_NAME "
    "REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG "
    "RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME SPAN_ID STREAM_ID TRACE_ID "
    "UNIQUE_ID VIRTUAL_CLUSTER_NAME"
)
# Without parameters, with or without, and with; of the last, some take a length.
_PLAIN = frozenset(
    [f"DOWNSTREAM_{word}" for word in f"{_DOWNSTREAM_CERTIFICATE} {_DOWNSTREAM}".split()]
    + [f"UPSTREAM_{word}" for word in _UPSTREAM.split()]
    + _OTHERS.split()
)
_EITHER = frozenset(
    [
        f"{side}_{word}"
        for side in ("DOWNSTREAM", "UPSTREAM")
        for word in (
            "LOCAL_ADDRESS_WITHOUT_PORT",
            "REMOTE_ADDRESS_WITHOUT_PORT",
            "PEER_CERT_V_END",
            "PEER_CERT_V_START",
        )
    ]
    + [
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "EMIT_TIME",
        "RESPONSE_CODE_DETAILS",
        "START_TIME",
        "START_TIME_LOCAL",
    ]
)
_WITH_LENGTH = frozenset(["PATH", "QUERY_PARAMS"])
_PARAMETERS = frozenset(["CLUSTER_METADATA", "UPSTREAM_METADATA", "PER_REQUEST_STATE"])
_PARAMETERS_AND_LENGTH = frozenset(
    [
        "DYNAMIC_METADATA",
        "ENVIRONMENT",
        "FILTER_STATE",
        "UPSTREAM_FILTER_STATE",
        "QUERY_PARAM",
        "REQ",
        "RESP",
        "STREAM_INFO_REQ",
        "TRAILER",
        "CEL",
    ]
)

# Those our own sidecar has. With any other it refuses its configuration.
SIDECAR_OPERATORS = frozenset(
    [
        "BYTES_RECEIVED",
        "BYTES_SENT",
        "CONNECTION_TERMINATION_DETAILS",
        "CUSTOM_FLAGS",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_DIRECT_REMOTE_PORT",
        "DOWNSTREAM_LOCAL_ADDRESS",
        "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_PORT",
        "DOWNSTREAM_LOCAL_URI_SAN",
        "DOWNSTREAM_PEER_URI_SAN",
        "DOWNSTREAM_REMOTE_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_REMOTE_PORT",
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        "DOWNSTREAM_WIRE_BYTES_RECEIVED",
        "DOWNSTREAM_WIRE_BYTES_SENT",
        "DURATION",
        "EMIT_TIME",
        "ENVIRONMENT",
        "GRPC_STATUS",
        "GRPC_STATUS_NUMBER",
        "HOSTNAME",
        "PATH",
        "PROTOCOL",
        "QUERY_PARAM",
        "QUERY_PARAMS",
        "REQ",
        "REQUESTED_SERVER_NAME",
        "RESP",
        "RESPONSE_CODE",
        "RESPONSE_CODE_DETAILS",
        "RESPONSE_FLAGS",
        "RESPONSE_FLAGS_LONG",
        "ROUNDTRIP_DURATION",
        "ROUTE_NAME",
        "SPAN_ID",
        "START_TIME",
        "START_TIME_LOCAL",
        "STREAM_ID",
        "TLS_JA3_FINGERPRINT",
        "TLS_JA4_FINGERPRINT",
        "TRACE_ID",
        "UPSTREAM_CLUSTER",
        "UPSTREAM_CLUSTER_RAW",
        "UPSTREAM_HOST",
        "UPSTREAM_LOCAL_ADDRESS",
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_LOCAL_PORT",
        "UPSTREAM_PEER_URI_SAN",
        "UPSTREAM_PROTOCOL",
        "UPSTREAM_REMOTE_ADDRESS",
        "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_REMOTE_PORT",
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "VIRTUAL_CLUSTER_NAME",
    ]
)
OPERATORS = _PLAIN | _EITHER | _WITH_LENGTH | _PARAMETERS | _PARAMETERS_AND_LENGTH


def not_in_sidecar(value: str) -> list[str]:
    """The operators of a valid value that our sidecar does not have."""
    # A `%%` before an operator is taken first: that between two operators is the end of one and the beginning of the other.
    used = [found.group(1) for found in _COMMAND_OR_PERCENT.finditer(value)]
    return [name for name in used if name is not None and name not in SIDECAR_OPERATORS]


def header_value_problem(value: str) -> str | None:
    """Why Istio or Envoy refuses a value; in the words of whoever does."""
    if value.count("%") % 2:
        return "single % not allowed.  Escape by doubling to %% or encase Envoy variable name in pair of %"
    if _NOT_IN_VALUE.search(value):
        return f"header value {json.dumps(value)} contains a line break or NUL"
    if len(value.encode(errors="surrogatepass")) > MAX_LENGTH:
        return f"header value is too long, max length allowed is {MAX_LENGTH}"
    position = value.find("%")
    while position >= 0:
        if value.startswith("%%", position):
            position = value.find("%", position + 2)
            continue
        found = _COMMAND.match(value, position)
        if found is None:
            return f"Incorrect configuration: {value}. Couldn't find valid command at position {position}"
        problem = _command_problem(*found.groups())
        if problem:
            return problem
        position = value.find("%", found.end())
    return None


def _command_problem(name: str, parameters: str | None, length: str | None) -> str | None:
    if name in _PARAMETERS_AND_LENGTH | _PARAMETERS and parameters is None:
        return f"{name} requires parameters"
    if name in _PLAIN and parameters is not None:
        return f"{name} does not take any parameters"
    if name in _PLAIN | _EITHER | _PARAMETERS and length is not None:
        return f"{name} does not allow length to be specified."
    if name in OPERATORS:
        return None
    return f"Not supported field in StreamInfo: {name}"
