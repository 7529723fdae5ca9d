"""Every rule of Istio's for a VirtualService: what is refused, at which path, in which words; and what is not."""

from __future__ import annotations

import pytest
import yaml

from control.resources import virtual_service

LONG = "a" * 1025
RE2 = "; Istio uses RE2 style regex-based match (https://github.com/google/re2/wiki/Syntax)"
FORWARD = "route: [{destination: {host: a}}]"
MS = "only durations to ms precision are supported"
SHORT = "duration must be greater than 1ms"


def _errors(spec: str) -> list[str]:
    obj = {"metadata": {"name": "x", "namespace": "default"}, "spec": yaml.safe_load(spec)}
    return [str(error) for error in virtual_service.KIND.validate(obj).errors]


def _rule(rule: str) -> list[str]:
    """Errors of one http rule, paths relative to it."""
    return [
        error.removeprefix("spec.http[0].").removeprefix("spec.http[0]")
        for error in _errors(f"{{hosts: [a], http: [{{{rule}}}]}}")
    ]


def _routed(rule: str) -> list[str]:
    return _rule(f"{rule}, {FORWARD}")


WHOLE = [
    ("http: []", "spec: http, tcp or tls must be provided in virtual service"),
    (
        "hosts: ['*']",
        "spec.hosts[0]: wildcard host * is not allowed for virtual services bound to the mesh gateway",
    ),
    ("hosts: ['']", "spec.hosts[0]: empty domain name not allowed"),
    ("hosts: [a_b]", 'spec.hosts[0]: domain name "a_b" invalid (label "a_b" invalid)'),
    ("hosts: [a.*.b]", 'spec.hosts[0]: domain name "a.*.b" invalid (label "*" invalid)'),
    ("hosts: ['*.']", 'spec.hosts[0]: domain name "*." invalid (label "" invalid)'),
    ("hosts: [a.1]", 'spec.hosts[0]: domain name "a.1" invalid (top level domain "1" cannot be all-numeric)'),
    (f"hosts: [{'a.' * 130}b]", f'spec.hosts[0]: domain name "{"a." * 130}b" too long (max 255)'),
    ("hosts: [a, a]", "spec.hosts: duplicate hosts in virtual service: a & a"),
    ("hosts: ['*.a', b.a]", "spec.hosts: duplicate hosts in virtual service: *.a & b.a"),
    ("gateways: [a b]", 'spec.gateways[0]: domain name "a b" invalid (label "a b" invalid)'),
    ("gateways: [/a]", "spec.gateways[0]: config namespace and gateway name cannot be empty"),
    ("gateways: [a b/c]", 'spec.gateways[0]: invalid value for namespace: "a b"'),
    ("gateways: [a/b c]", 'spec.gateways[0]: invalid value for gateway name: "b c"'),
    ("exportTo: [a, a]", "spec.exportTo: duplicate entries in exportTo for entry a"),
    ("exportTo: ['~']", "spec.exportTo[0]: exportTo ~ (none) is not allowed for Istio configuration objects"),
    ("exportTo: [a b]", "spec.exportTo[0]: only .,*, or a valid DNS 1123 label is allowed as exportTo entry"),
    (
        "exportTo: ['*', a]",
        "spec.exportTo: cannot have both public (*) and non-public (., namespace) exportTo values for a resource",
    ),
    ("hosts: x", 'spec.hosts: Invalid value: "x": must be a list'),
    ("colour: red", 'spec.colour: unknown field "spec.colour"'),
    ("hosts: [], gateways: [a]", "spec.gateways: delegate virtual service must have no gateways specified"),
    (
        "hosts: [], tcp: [{route: [{destination: {host: a}}]}]",
        "spec.tcp: delegate virtual service must have no tcp specified",
    ),
    (
        "hosts: [], http: [{delegate: {name: d}}]",
        "spec.http[0].delegate: delegate HTTP route cannot contain delegate",
    ),
    ("http: [null]", "spec.http[0]: Invalid value: null: must be an object"),
]


@pytest.mark.parametrize(("change", "error"), WHOLE)
def test_whole(change: str, error: str) -> None:
    spec = yaml.safe_load(f"{{hosts: [a], http: [{{{FORWARD}}}]}}") | yaml.safe_load(f"{{{change}}}")
    assert _errors(yaml.safe_dump(spec)) == [error]


MATCHES = [
    ('uri: {prefix: ""}', 'uri.prefix: "uri": prefix string match should not be empty'),
    ('method: {prefix: ""}', 'method.prefix: "method": prefix string match should not be empty'),
    ('headers: {x: {prefix: ""}}', 'headers.x.prefix: "headers": prefix string match should not be empty'),
    (
        'queryParams: {x: {prefix: ""}}',
        'queryParams.x.prefix: "queryParams": prefix string match should not be empty',
    ),
    ('uri: {regex: ""}', 'uri.regex: "uri": regex string match should not be empty'),
    (f"uri: {{regex: {LONG}}}", 'uri.regex: "uri": regex is too large, max length allowed is 1024'),
    ("uri: {regex: (}", f'uri.regex: "uri": error parsing regexp: missing closing ): `(`{RE2}'),
    ("uri: {regex: '[a'}", f'uri.regex: "uri": error parsing regexp: missing closing ]: `[a`{RE2}'),
    (
        "uri: {regex: 'a**'}",
        f'uri.regex: "uri": error parsing regexp: invalid nested repetition operator: `**`{RE2}',
    ),
    (
        "uri: {regex: '(?=a)'}",
        f'uri.regex: "uri": error parsing regexp: invalid or unsupported Perl syntax: `(?=`{RE2}',
    ),
    (
        "uri: {regex: 'a{1001}'}",
        f'uri.regex: "uri": error parsing regexp: invalid repeat count: `{{1001}}`{RE2}',
    ),
    (
        "authority: {regex: '[b-a]'}",
        f'authority.regex: "authority": error parsing regexp: invalid character class range: `b-a`{RE2}',
    ),
    (
        "withoutHeaders: {x: {regex: ')'}}",
        f'withoutHeaders.x.regex: "withoutHeaders": error parsing regexp: unexpected ): `)`{RE2}',
    ),
    ("uri: {exact: a, prefix: b}", "uri: only one of exact, prefix, regex may be set, not exact, prefix"),
    ("headers: {a b: {}}", "headers.a b: header name a b is not a valid header name"),
    ("headers: {'': {}}", "headers: header name cannot be empty"),
    ("queryParams: {'': {}}", "queryParams: query parameter name cannot be empty"),
    (
        "headers: {'@request.auth.claims.sub': {exact: a}}",
        "headers.@request.auth.claims.sub: JWT claim based routing (key: @request.auth.claims.sub) is only supported for "
        "gateway, found no gateways: []",
    ),
    ("port: 0", "port: port number 0 must be in the range 1..65535"),
    ("port: '80'", 'port: Invalid value: "80": must be an integer'),
    ("sourceLabels: {a b: c}", 'sourceLabels: invalid tag key: "a b"'),
    ("sourceLabels: {a: b c}", 'sourceLabels: invalid tag value: "b c"'),
    ("gateways: [/a]", "gateways[0]: config namespace and gateway name cannot be empty"),
    ("sourceNamespace: a b", "sourceNamespace: sourceNamespace match is invalid: a b"),
    ("ignoreUriCase: 'yes'", 'ignoreUriCase: Invalid value: "yes": must be true or false'),
]


@pytest.mark.parametrize(("match", "error"), MATCHES)
def test_match(match: str, error: str) -> None:
    assert _routed(f"match: [{{{match}}}]") == [f"match[0].{error}"]


def test_long_query_parameter() -> None:
    match = {"queryParams": {LONG: {}}}
    spec = {"hosts": ["a"], "http": [{"match": [match], "route": [{"destination": {"host": "a"}}]}]}
    why = "query parameter name is too long, max length allowed is 1024"
    assert _errors(yaml.safe_dump(spec)) == [f"spec.http[0].match[0].queryParams.{LONG}: {why}"]


RULES = [
    ("name: a", ": HTTP route, redirect or direct_response is required"),
    (f"redirect: {{uri: /}}, {FORWARD}", "redirect: HTTP route cannot contain both route and redirect"),
    (f"directResponse: {{status: 200}}, {FORWARD}", "directResponse: HTTP route cannot contain both route and direct_response"),
    ("redirect: {uri: /}, fault: {delay: {}}", "redirect: HTTP route cannot contain both fault and redirect"),
    ("redirect: {uri: /}, rewrite: {uri: /}", "redirect: HTTP route rule cannot contain both rewrite and redirect"),
    (
        "redirect: {uri: /}, directResponse: {status: 200}",
        "redirect: HTTP route rule cannot contain both direct_response and redirect",
    ),
    (
        "directResponse: {status: 200}, rewrite: {uri: /}",
        "directResponse: HTTP route rule cannot contain both rewrite and direct_response",
    ),
    ("redirect: {}", "redirect: redirect must specify URI, authority, scheme, or port"),
    ("redirect: {scheme: ftp}", 'redirect.scheme: invalid redirect scheme, must be "http" or "https"'),
    ("redirect: {uri: /, redirectCode: 200}", "redirect.redirectCode: 200 is not a valid redirect code, must be 3xx"),
    (
        "redirect: {uri: /, redirectCode: 304}",
        "redirect.redirectCode: 304 is not a valid redirect code, must be one of 301, 302, 303, 307, 308",
    ),
    ("redirect: {port: 70000}", "redirect.port: port number 70000 must be in the range 1..65535"),
    (
        "redirect: {port: 80, derivePort: FROM_REQUEST_PORT}",
        "redirect.derivePort: only one of port and derivePort may be set",
    ),
    ('redirect: {uri: "a\\nb"}', 'redirect.uri: "a\\nb" contains a line break or NUL'),
    ("directResponse: {status: 600}", "directResponse.status: HTTP status 600 is not in range 200..599"),
    ("directResponse: {}", "directResponse.status: Required value"),
    (
        "directResponse: {status: 200, body: {string: a, bytes: YQ==}}",
        "directResponse.body: only one of string and bytes may be set",
    ),
    (
        "directResponse: {status: 200, body: {bytes: a}}",
        "directResponse.body.bytes: illegal base64 data: invalid base64-encoded string: number of data characters (1) "
        "cannot be 1 more than a multiple of 4",
    ),
    (
        f"directResponse: {{status: 200, body: {{string: {'a' * (1024 * 1024 + 1)}}}}}",
        "directResponse.body: large direct_responses may impact control plane performance, must be less than 1MB",
    ),
    (f"delegate: {{name: d}}, {FORWARD}", "route: root HTTP route  must not specify route"),
    ("delegate: {name: d}, redirect: {uri: /}, name: r", "redirect: root HTTP route r must not specify redirect"),
    ("route: [{destination: {host: '*'}}]", "route[0].destination.host: invalid destination host *"),
    ("route: [{destination: {host: a b}}]", 'route[0].destination.host: domain name "a b" invalid (label "a b" invalid)'),
    ("route: [{destination: {host: a, subset: a/b}}]", "route[0].destination.subset: subset name is invalid: a/b"),
    (
        "route: [{destination: {host: a, port: {number: 0}}}]",
        "route[0].destination.port.number: port number 0 must be in the range 1..65535",
    ),
    ("route: [{weight: 1}]", "route[0].destination: Required value"),
    ("route: [{destination: {host: a}, weight: -1}]", "route[0].weight: weight -1 < 0"),
    ("route: [{destination: {host: a}}, {destination: {host: b}}]", "route: total destination weight = 0"),
    ("route: [{destination: {host: a}, weight: 1.5}]", "route[0].weight: Invalid value: 1.5: must be an integer"),
    (
        "route: [{destination: {host: a}, weight: 3000000000}]",
        "route[0].weight: 3000000000 is not in range -2147483648..2147483647",
    ),
    (
        "route: [{destination: {host: a}, headers: {request: {remove: [Host]}}}]",
        'route[0].headers.request.remove[0]: invalid header "Host": cannot set Host header',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "error"), RULES, ids=lambda text: text[:60])
def test_rule(rule: str, error: str) -> None:
    assert _rule(rule) == [error]


ROUTED = [
    ("timeout: 1us", f"timeout: {SHORT}"),
    ("timeout: 1500us", f"timeout: {MS}"),
    ("timeout: 5", "timeout: Invalid value: 5: must be a string"),
    ("timeout: '5'", 'timeout: invalid duration: time: invalid duration "5"'),
    ("timeout: 3000000h", 'timeout: invalid duration: time: invalid duration "3000000h"'),
    ("retries: {attempts: -1}", "retries.attempts: attempts cannot be negative"),
    ("retries: {perTryTimeout: 1s}", "retries: http retry policy configured when attempts are set to 0 (disabled)"),
    ("retries: {attempts: 1, perTryTimeout: 0s}", f"retries.perTryTimeout: {SHORT}"),
    ("retries: {attempts: 1, backoff: 1us}", f"retries.backoff: {SHORT}"),
    ("retries: {attempts: 1, backoff: 300000h}", "retries.backoff: backoff is too long, at most 256204h"),
    ("retries: {attempts: 1, retryOn: '5xx,all'}", 'retries.retryOn: "all" is not a valid retryOn policy'),
    ("retries: {attempts: 1, retryOn: '5xx, reset'}", 'retries.retryOn: " reset" is not a valid retryOn policy'),
    ("retries: {attempts: 1, retryOn: '555'}", 'retries.retryOn: "555" is not a valid retryOn policy'),
    ("fault: {}", "fault: HTTP fault injection must have an abort and/or a delay"),
    ("fault: {delay: {fixedDelay: 0s}}", f"fault.delay.fixedDelay: {SHORT}"),
    ("fault: {delay: {exponentialDelay: 1s}}", "fault.delay.exponentialDelay: exponentialDelay not supported yet"),
    ("fault: {delay: {fixedDelay: 1s, percent: 101}}", "fault.delay.percent: percentage 101 is not in range 0..100"),
    (
        "fault: {delay: {fixedDelay: 1s, percentage: {value: 101}}}",
        "fault.delay.percentage.value: percentage 101 is neither 0.0, nor in range [0.0001, 100.0]",
    ),
    (
        "fault: {abort: {httpStatus: 500, percentage: {value: 0.00001}}}",
        "fault.abort.percentage.value: percentage 1e-05 is neither 0.0, nor in range [0.0001, 100.0]",
    ),
    ("fault: {abort: {httpStatus: 100}}", "fault.abort.httpStatus: HTTP status 100 is not in range 200..599"),
    (
        "fault: {abort: {grpcStatus: GONE}}",
        'fault.abort.grpcStatus: gRPC status "GONE" is not supported. See '
        "https://github.com/grpc/grpc/blob/master/doc/statuscodes.md for a list of supported codes",
    ),
    ("fault: {abort: {http2Error: x}}", "fault.abort.http2Error: HTTP/2 abort fault injection not supported yet"),
    (
        "fault: {abort: {httpStatus: 500, grpcStatus: OK}}",
        "fault.abort: only one of httpStatus, grpcStatus, http2Error may be set, not httpStatus, grpcStatus",
    ),
    ("mirror: {host: b}, mirrors: [{destination: {host: c}}]", "mirrors: HTTP route cannot contain both mirror and mirrors"),
    ("mirror: {host: '*'}", "mirror.host: invalid destination host *"),
    ("mirrors: [{percentage: {value: 1}}]", "mirrors[0].destination: Required value"),
    (
        "mirrors: [{destination: {host: b}, percentage: {value: 101}}]",
        "mirrors[0].percentage.value: mirror_percentage must have a max value of 100 (it has 101.000000)",
    ),
    (
        "mirrorPercentage: {value: -1}",
        "mirrorPercentage.value: mirror_percentage must have a min value of 0 (it has -1.000000)",
    ),
    ("mirrorPercent: 101", "mirrorPercent: mirror_percent must have a max value of 100 (it has 101)"),
    ("mirrorPercent: -1", "mirrorPercent: -1 is not in range 0..4294967295"),
    ("rewrite: {}", "rewrite: rewrite must specify URI, UriRegexRewrite, or authority"),
    (
        "rewrite: {uri: /, uriRegexRewrite: {match: a, rewrite: b}}",
        "rewrite: rewrite may only contain one of URI or UriRegexRewrite",
    ),
    (
        "rewrite: {uriRegexRewrite: {match: a}}",
        "rewrite.uriRegexRewrite: UriRegexRewrite requires both Rewrite and Match fields to be specified",
    ),
    (
        "rewrite: {uriRegexRewrite: {match: (, rewrite: b}}",
        f'rewrite.uriRegexRewrite.match: "uriRegexRewrite.match": error parsing regexp: missing closing ): `(`{RE2}',
    ),
    ('rewrite: {uriRegexRewrite: {match: a, rewrite: "b\\n"}}', 'rewrite.uriRegexRewrite.rewrite: "b\\n" contains a line break or NUL'),
    ('rewrite: {authority: "a\\0"}', 'rewrite.authority: "a\\u0000" contains a line break or NUL'),
    (
        "rewrite: {authority: x}, headers: {request: {set: {Host: b}}}",
        'headers.request.set.Host: authority header cannot be set multiple times: have "x", attempting to set "b"',
    ),
    ("headers: {request: {set: {'': a}}}", "headers.request.set: header name cannot be empty"),
    ("headers: {request: {add: {':path': a}}}", 'headers.request.add.:path: invalid header ":path": header cannot have ":" prefix'),
    ("headers: {response: {set: {host: a}}}", 'headers.response.set.host: invalid header "host": cannot set Host header'),
    ("headers: {response: {remove: [a b]}}", "headers.response.remove[0]: header name a b is not a valid header name"),
    (
        "headers: {response: {add: {a: 100%}}}",
        "headers.response.add.a: single % not allowed.  Escape by doubling to %% or encase Envoy variable name in pair of %",
    ),
    ("headers: {response: {add: {a: '%FOO%'}}}", "headers.response.add.a: Not supported field in StreamInfo: FOO"),
    ("headers: {response: {add: {a: '%REQ%'}}}", "headers.response.add.a: REQ requires parameters"),
    ("headers: {response: {add: {a: '%PROTOCOL(x)%'}}}", "headers.response.add.a: PROTOCOL does not take any parameters"),
    ("headers: {response: {add: {a: '%PROTOCOL:3%'}}}", "headers.response.add.a: PROTOCOL does not allow length to be specified."),
    (
        "headers: {response: {add: {a: 'x%a%'}}}",
        "headers.response.add.a: Incorrect configuration: x%a%. Couldn't find valid command at position 1",
    ),
    ("corsPolicy: {allowOrigins: [{}]}", "corsPolicy.allowOrigins[0]: '' is not a valid match type for CORS allow origins"),
    (
        "corsPolicy: {allowOrigins: [{regex: '*'}]}",
        'corsPolicy.allowOrigins[0].regex: "corsPolicy.allowOrigins": error parsing regexp: missing argument to repetition '
        f"operator: `*`{RE2}",
    ),
    ("corsPolicy: {allowMethods: [FETCH]}", 'corsPolicy.allowMethods[0]: "FETCH" is not a supported HTTP method'),
    ("corsPolicy: {allowHeaders: [a b]}", "corsPolicy.allowHeaders[0]: header name a b is not a valid header name"),
    ("corsPolicy: {exposeHeaders: ['']}", "corsPolicy.exposeHeaders[0]: header name cannot be empty"),
    ("corsPolicy: {maxAge: 1ms}", "corsPolicy.maxAge: max_age duration is accurate only to seconds precision"),
    (
        "corsPolicy: {unmatchedPreflights: DROP}",
        'corsPolicy.unmatchedPreflights: Unsupported value: "DROP": supported values: "FORWARD", "IGNORE", "UNSPECIFIED"',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "error"), ROUTED, ids=lambda text: text[:60])
def test_rule_that_routes(rule: str, error: str) -> None:
    assert _routed(rule) == [error]


OPAQUE = [
    ("tls: [{match: [], route: [{destination: {host: a}}]}]", "tls[0].match: TLS route must have at least one match condition"),
    ("tls: [{match: [{sniHosts: []}], route: [{destination: {host: a}}]}]",
     "tls[0].match[0].sniHosts: TLS match must have at least one SNI host"),
    ("tls: [{match: [{sniHosts: [a]}]}]", "tls[0].route: TLS route is required"),
    ("tls: [{match: [{sniHosts: [b]}], route: [{destination: {host: a}}]}]",
     'tls[0].match[0].sniHosts[0]: SNI host "b" is not a compatible subset of any of the virtual service hosts: [a]'),
    ("tls: [{match: [{sniHosts: [a], destinationSubnets: [10.0.0.0/40]}], route: [{destination: {host: a}}]}]",
     "tls[0].match[0].destinationSubnets[0]: 10.0.0.0/40 is not a valid CIDR block"),
    ("tcp: [{}]", "tcp[0].route: TCP route is required"),
    ("tcp: [{match: [{destinationSubnets: [x]}], route: [{destination: {host: a}}]}]",
     "tcp[0].match[0].destinationSubnets[0]: x is not a valid IP"),
    ("tcp: [{match: [{sourceSubnet: 1/2}], route: [{destination: {host: a}}]}]",
     "tcp[0].match[0].sourceSubnet: 1/2 is not a valid CIDR block"),
    ("tcp: [{match: [{port: 65536}], route: [{destination: {host: a}}]}]",
     "tcp[0].match[0].port: port number 65536 must be in the range 1..65535"),
    ("tcp: [{match: [{gateways: [a/]}], route: [{destination: {host: a}}]}]",
     "tcp[0].match[0].gateways[0]: config namespace and gateway name cannot be empty"),
    ("tcp: [{match: [{sourceLabels: {'': a}}], route: [{destination: {host: a}}]}]",
     'tcp[0].match[0].sourceLabels: invalid tag key: ""'),
    ("tcp: [{route: [{destination: {host: a}, weight: -5}]}]", "tcp[0].route[0].weight: weight -5 < 0"),
]  # fmt: skip


@pytest.mark.parametrize(("rules", "error"), OPAQUE, ids=lambda text: text[:60])
def test_opaque_rules(rules: str, error: str) -> None:
    assert _errors(f"{{hosts: [a], {rules}}}") == [f"spec.{error}"]


VALID = [
    "{hosts: ['*'], gateways: [gw], http: [{R}]}",
    "{hosts: ['*.a', '*-b.c', 10.0.0.1, '2001:db8::1'], gateways: [ns/gw, mesh], exportTo: [., other], http: [{R}]}",
    "{http: [{R}]}",
    "{hosts: [a], http: [{timeout: 0s, R}]}",
    "{hosts: [a], http: [{timeout: 1m30s, retries: {attempts: 0}, R}]}",
    "{hosts: [a], http: [{retries: {attempts: 2, retryOn: '5xx,503,unavailable', backoff: 5ms}, R}]}",
    "{hosts: [a], http: [{match: [{}, {uri: {regex: '*'}}, {headers: {a: {}, ':path': {exact: ''}}}], R}]}",
    "{hosts: [a], gateways: [gw], http: [{match: [{headers: {'@request.auth.claims.sub': {exact: a}}}], R}]}",
    "{hosts: [a], http: [{headers: {request: {set: {Host: a, b: '%REQ(x):5% 100%% %PROTOCOL%'}}}, R}]}",
    "{hosts: [a], http: [{mirror: {host: b}, mirrorPercentage: {value: 0}, R}]}",
    "{hosts: [a], http: [{fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 0.0001}}}, R}]}",
    "{hosts: [a], http: [{corsPolicy: {allowOrigins: [{exact: '*'}, {regex: '.*'}], allowMethods: ['*'], maxAge: 24h}, R}]}",
    "{hosts: [a], http: [{redirect: {uri: /x, derivePort: FROM_REQUEST_PORT, redirectCode: 308}}]}",
    "{hosts: [a], http: [{directResponse: {status: 503, body: {bytes: AA==}}}]}",
    "{hosts: [a], http: [{delegate: {name: d, namespace: other}, timeout: 1s}]}",
    "{hosts: [a], http: [{route: [{destination: {host: a, subset: v1}, weight: 0}]}]}",
    "{hosts: [a], tls: [{match: [{sniHosts: [a], port: 443}], route: [{destination: {host: '*.a'}}]}]}",
    "{hosts: [a], tcp: [{match: [{destinationSubnets: [10.0.0.1, 10.0.0.0/8]}], route: [{destination: {host: a}}]}]}",
]


@pytest.mark.parametrize("spec", VALID)
def test_valid(spec: str) -> None:
    assert _errors(spec.replace("R}", f"{FORWARD}}}")) == []


DOUBTS: list[tuple[str, list[str]]] = [
    ("mirror: {host: b}, mirrorPercent: 5", ['spec.http[0].mirrorPercent: using deprecated setting "mirrorPercent", use "mirrorPercentage" instead']),
    (
        "fault: {abort: {httpStatus: 500, percentage: {value: 1}}}, timeout: 1s, retries: {attempts: 1}",
        ["spec.http[0].fault: timeout and retries of the rule will not be enabled for faults injected on the client side"],
    ),
    ("fault: {delay: {fixedDelay: 1s, percent: 1}}", ['spec.http[0].fault.delay.percent: using deprecated setting "percent", use "percentage" instead']),
    ("fault: {abort: {httpStatus: 500}}", ["spec.http[0].fault.abort: no percentage is set: no request is aborted"]),
    ("fault: {delay: {fixedDelay: 1s}}", ["spec.http[0].fault.delay: no percentage is set: no request is delayed"]),
    ("fault: {delay: {fixedDelay: 1s, percentage: {value: 0}}}", []),
    ("timeout: 1s", []),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "doubts"), DOUBTS)
def test_doubts_are_warnings(rule: str, doubts: list[str]) -> None:
    spec = yaml.safe_load(f"{{hosts: [a], http: [{{{rule}, {FORWARD}}}]}}")
    verdict = virtual_service.KIND.validate({"metadata": {"name": "x"}, "spec": spec})
    assert not verdict.errors
    assert [warning for warning in verdict.warnings if "not acted on" not in warning] == doubts


def test_everything_wrong_is_told_at_once() -> None:
    """Of single fields, between fields, of shape, unknown; a rule that lost a field to its shape is not judged as a whole."""
    found = _errors(
        """
        hosts: ["*", "a b"]
        http:
        - {timeout: 1us, redirect: {}, route: [{destination: {host: "*"}, weight: -1}, {destination: {host: a, colour: x}}]}
        - {route: 5, timeout: x, retries: {attempts: 0, retryOn: 5xx}}
        - {rute: []}
        - {}
        """
    )
    assert found == [
        "spec.hosts[0]: wildcard host * is not allowed for virtual services bound to the mesh gateway",
        'spec.hosts[1]: domain name "a b" invalid (label "a b" invalid)',
        "spec.http[0].timeout: duration must be greater than 1ms",
        "spec.http[0].redirect: redirect must specify URI, authority, scheme, or port",
        "spec.http[0].redirect: HTTP route cannot contain both route and redirect",
        "spec.http[0].route[0].destination.host: invalid destination host *",
        "spec.http[0].route[0].weight: weight -1 < 0",
        'spec.http[0].route[1].destination.colour: unknown field "spec.http[0].route[1].destination.colour"',
        "spec.http[1].route: Invalid value: 5: must be a list",
        'spec.http[1].timeout: invalid duration: time: invalid duration "x"',
        "spec.http[1].retries: http retry policy configured when attempts are set to 0 (disabled)",
        'spec.http[2].rute: unknown field "spec.http[2].rute"',
        "spec.http[3]: HTTP route, redirect or direct_response is required",
    ]
