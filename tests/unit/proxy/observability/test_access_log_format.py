"""Access log formats: Istio's default line to the byte, operators, and formats that are refused."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observability import response_flags
from proxy.observability.access_log_format import (
    ENVOY_TEXT,
    ISTIO_TEXT,
    FormatError,
    compile_json,
    compile_text,
)
from proxy.observability.stream_info import StreamInfo


def request(**fields: Any) -> StreamInfo:
    info = StreamInfo()
    info.start_time = 1769860800.0
    info.start, info.end = 10.0, 10.0051
    info.method, info.path, info.authority, info.protocol = (
        b"GET",
        b"/status/200",
        b"httpbin:8000",
        "HTTP/1.1",
    )
    info.request_headers = [(b"user-agent", b"curl/8.5"), (b"x-request-id", b"5f3c")]
    info.response_headers = []
    info.response_code, info.response_code_details = 200, "via_upstream"
    info.upstream_service_time_ms = 4
    info.upstream_host = "10.0.0.7:8080"
    info.upstream_cluster = "outbound|8000||httpbin.foo.svc.cluster.local"
    info.upstream_local_address = "10.0.0.5:41234"
    info.downstream_local_address, info.downstream_remote_address = "10.96.1.2:8000", "10.0.0.5:50222"
    info.route_name = "default"
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def test_istio_line() -> None:
    assert compile_text(ISTIO_TEXT)(request()) == (
        '[2026-01-31T12:00:00.000Z] "GET /status/200 HTTP/1.1" 200 - via_upstream - "-" 0 0 5 4 "-" "curl/8.5" '
        '"5f3c" "httpbin:8000" "10.0.0.7:8080" outbound|8000||httpbin.foo.svc.cluster.local 10.0.0.5:41234 '
        "10.96.1.2:8000 10.0.0.5:50222 - default\n"
    )


def test_the_direct_peer_stands_behind_a_forwarded_address() -> None:
    line = compile_text("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%")
    assert line(request()) == "10.0.0.5:50222 10.0.0.5:50222"
    forwarded = request(downstream_remote_address="1.2.3.4:0", downstream_direct_address="10.0.0.5:50222")
    assert line(forwarded) == "10.0.0.5:50222 1.2.3.4:0"


def test_istio_line_of_tcp() -> None:
    info = StreamInfo()
    info.start_time = 1769860800.25
    info.start, info.end, info.bytes_received, info.bytes_sent = 1.0, 1.1001, 1024, 2048
    info.upstream_host, info.upstream_cluster = "10.0.0.7:9000", "outbound|9000||echo"
    assert compile_text(ISTIO_TEXT)(info) == (
        '[2026-01-31T12:00:00.250Z] "- - -" 0 - - - "-" 1024 2048 100 - "-" "-" "-" "-" "10.0.0.7:9000" '
        "outbound|9000||echo - - - - -\n"
    )


OPERATORS = [
    ("%REQ(X-ABSENT?USER-AGENT)%", "curl/8.5"),
    ("%REQ(USER-AGENT):4%", "curl"),
    ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/status/200"),
    ("%RESP(X-ABSENT)%", "-"),
    ("%START_TIME(%Y/%m/%d %H:%M:%S.%3f)%", "2026/01/31 12:00:00.000"),
    ("%START_TIME(%s)%", "1769860800"),
    ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%:%DOWNSTREAM_LOCAL_PORT%", "10.0.0.5:8000"),
    ("100%% %PROTOCOL%", "100% HTTP/1.1"),
    ("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure"),
    ("%GRPC_STATUS% %GRPC_STATUS_NUMBER%", "NotFound 5"),
    ("plain", "plain"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), OPERATORS)
def test_operators(text: str, line: str) -> None:
    info = request(response_flags=response_flags.UF | response_flags.URX, grpc_status=5)
    assert compile_text(text)(info) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%PATH% %PATH(WQ)% %PATH(NQ)%", "/old?a=1&b=x%20y+z /old?a=1&b=x%20y+z /old"),
        ("%PATH(WQ:PATH)% %PATH(NQ:PATH)% %REQ(:PATH)%", "/new?a=1&b=x%20y+z /new /new?a=1&b=x%20y+z"),
        ("%PATH(NQ:ORIG)% %PATH(NQ:ORIG_OR_PATH)%", "/old /old"),
        ("%QUERY_PARAMS% %QUERY_PARAM(b)% %QUERY_PARAM(b):3% %QUERY_PARAM(c)%", "a=1&b=x%20y+z x y+z x y -"),
        ("%STREAM_ID% %TRACE_ID% %UPSTREAM_PROTOCOL%", "the-id - HTTP/1.1"),
        ("%UPSTREAM_REMOTE_PORT% %UPSTREAM_LOCAL_PORT%", "8000 6001"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%:%DOWNSTREAM_DIRECT_REMOTE_PORT%", "10.0.0.5:50222"),
        ("%ENVIRONMENT(GLASSMESH_NO_SUCH)%", "-"),
        ("%START_TIME_LOCAL(%s)%", "1769860800"),
    ],
)
def test_operators_of_paths_and_ends(text: str, line: str) -> None:
    info = request(
        original_path=b"/old?a=1&b=x%20y+z", path=b"/new?a=1&b=x%20y+z", request_headers=[(b"x-request-id", b"the-id")],
        upstream_host="10.0.0.7:8000", upstream_local_address="10.0.0.9:6001",
    )  # fmt: skip
    assert compile_text(text)(info) == line


def test_the_first_of_repeated_headers_and_bytes_that_are_no_text() -> None:
    info = request(request_headers=[(b"a", b"\xff1"), (b"a", b"2")])
    assert compile_text("%REQ(A)%")(info).encode("utf-8", "surrogateescape") == b"\xff1"


def test_json() -> None:
    line = compile_json({
        "code": "%RESPONSE_CODE%", "absent": "%REQ(NO)%", "both": "%PROTOCOL% %REQ(NO)%", "nested": {"b": "%BYTES_SENT%"},
        "list": ["%PROTOCOL%", "x"], "number": 3,
    })  # fmt: skip
    text = line(request())
    assert json.loads(text) == {
        "absent": None, "both": "HTTP/1.1 -", "code": 200, "list": ["HTTP/1.1", "x"], "nested": {"b": 0}, "number": 3,
    }  # fmt: skip
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert text.endswith("}\n")


def test_omit_empty_values() -> None:
    assert compile_text("[%REQ(NO)%]", omit_empty=True)(request()) == "[]"
    assert json.loads(compile_json({"a": "%REQ(NO)%", "b": "x"}, omit_empty=True)(request())) == {"b": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "%NO_SUCH%",
        "%REQ%",
        "%REQ(A?B?C)%",
        "%PROTOCOL(x)%",
        "50%",
        "%CEL(request.path)%",
        "%REQ(A%",
        "%PATH(XX)%",
        "%PATH(NQ:NO)%",
        "%QUERY_PARAM%",
        "%ENVIRONMENT%",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(FormatError):
        compile_text(text)


def test_envoys_default_compiles() -> None:
    assert compile_text(ENVOY_TEXT)(request()).startswith("[2026-01-31T12:00:00.000Z] ")


@given(st.floats(min_value=0, max_value=4e9))
def test_start_time_is_always_milliseconds(moment: float) -> None:
    line = compile_text("%START_TIME%")(request(start_time=moment))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line)


LITERALS = ["{info.path}", "'\"\\\n'''", "{{", "é\N{SNOWMAN}", "%%d %%s"]  # fmt: skip


@pytest.mark.parametrize("text", LITERALS)
def test_literal_text_is_never_read_as_code(text: str) -> None:
    assert compile_text(text)(request()) == text.replace("%%", "%")
    assert json.loads(compile_json({text: [text]})(request())) == {text: [text.replace("%%", "%")]}


@given(st.text(st.characters(exclude_characters="()%?", exclude_categories=["Cs"]), min_size=1, max_size=8))
def test_a_header_name_is_never_read_as_code(name: str) -> None:
    info = request(request_headers=[(name.lower().encode(), b"found")])
    assert compile_text(f"%REQ(NO?{name})%")(info) in ("found", "-") or name.lower()[0] in ":h"


def test_one_format_is_compiled_once() -> None:
    assert compile_text("%PROTOCOL% once") is compile_text("%PROTOCOL% once")
    assert compile_json({"a": "%PROTOCOL%"}) is compile_json({"a": "%PROTOCOL%"})
    assert compile_json({"a": "%PROTOCOL%"}) is not compile_json({"a": "%PROTOCOL%"}, omit_empty=True)


@given(st.lists(st.floats(min_value=0, max_value=4e9), min_size=2, max_size=3))
def test_start_times_in_any_order(moments: list[float]) -> None:
    line = compile_text("%START_TIME%")
    for moment in (*moments, moments[0]):
        expected = datetime.datetime.fromtimestamp(int(moment * 1000) // 1000, datetime.UTC)
        text = f"{expected:%Y-%m-%dT%H:%M:%S}.{int(moment * 1000) % 1000:03d}Z"
        assert line(request(start_time=moment)) == text
