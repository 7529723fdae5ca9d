"""Whatever validation lets through compiles, the same way each time, to what the sidecar's model takes."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from control.compile.compiler import compile_proxy
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from control.resources import virtual_service
from proxy.config.decode import decode

WORDS = st.sampled_from(["a", "b", "x-y", "/", "/a", "/a/b"])
EXPRESSIONS = st.sampled_from([".*", "[0-9]+", "*", "a|b", "(", "%"])
STRING_MATCH = st.one_of(
    st.just({}),
    st.builds(dict, exact=WORDS),
    st.builds(dict, prefix=WORDS),
    st.builds(dict, regex=EXPRESSIONS),
)
NAMES = st.sampled_from(["a", "X-B", "cookie"])
MATCHED_NAMES = st.sampled_from(["a", "X-B", ":path", "@request.auth.claims.sub"])


def _some(**fields: Any) -> Any:
    return st.fixed_dictionaries({}, optional=fields)


def _all(**fields: Any) -> Any:
    return st.fixed_dictionaries(fields)


MATCH = _some(
    name=WORDS,
    uri=STRING_MATCH,
    method=STRING_MATCH,
    authority=STRING_MATCH,
    headers=st.dictionaries(MATCHED_NAMES, STRING_MATCH, max_size=2),
    withoutHeaders=st.dictionaries(MATCHED_NAMES, STRING_MATCH, max_size=2),
    queryParams=st.dictionaries(NAMES, STRING_MATCH, max_size=2),
    ignoreUriCase=st.booleans(),
    port=st.sampled_from([80, 81]),
)
OPERATIONS = _some(
    set=st.dictionaries(st.sampled_from(["a", "Host", ":authority"]), WORDS, max_size=2),
    add=st.dictionaries(NAMES, WORDS, max_size=2),
    remove=st.lists(NAMES, max_size=2),
)
HEADERS = _some(request=OPERATIONS, response=OPERATIONS)
HOSTS = st.sampled_from(["web", "unknown", "a.b"])
DESTINATION = st.fixed_dictionaries(
    {
        "destination": st.fixed_dictionaries(
            {"host": HOSTS}, optional={"subset": st.sampled_from(["v1", "v9"])}
        )
    },
    optional={"weight": st.integers(0, 3), "headers": HEADERS},
)
RETRIES = st.fixed_dictionaries(
    {"attempts": st.integers(1, 3)},
    optional={
        "retryOn": st.sampled_from(["5xx", "503", "503,reset"]),
        "backoff": st.just("5ms"),
        "perTryTimeout": st.just("1.5s"),
    },
)
ACTION = st.one_of(
    _all(route=st.lists(DESTINATION, min_size=1, max_size=3), rewrite=_all(uri=WORDS, authority=WORDS)),
    _all(route=st.lists(DESTINATION, min_size=1, max_size=3), retries=RETRIES),
    _all(redirect=_all(uri=WORDS, authority=WORDS, redirectCode=st.sampled_from([301, 308]))),
    _all(directResponse=_all(status=st.integers(200, 599), body=_some(string=WORDS))),
)
COMMON = _some(
    name=WORDS,
    match=st.lists(MATCH, max_size=3),
    timeout=st.sampled_from(["0s", "1s", "1.5s", "1m"]),
    headers=HEADERS,
)
RULE = st.builds(lambda action, common: {**action, **common}, ACTION, COMMON)
BASE = read(
    """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {metadata: {labels: {app: web, version: v1}}, spec: {containers: []}}}
"""
)
PROXY = Proxy("x", "sidecar", "10.244.0.1", "web", "default", {"app": "web"}, "web", False, {})


@settings(max_examples=150, deadline=None)
@given(st.lists(RULE, min_size=1, max_size=2))
def test_valid_rules_compile_to_valid_configuration(rules: list[Any]) -> None:
    obj = {
        "kind": "VirtualService",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"hosts": ["web"], "http": rules},
    }
    assume(not virtual_service.KIND.validate(obj).errors)
    first = compile_proxy(context_of([*BASE, obj]), PROXY)
    again = compile_proxy(context_of([*BASE, obj]), PROXY)
    assert first == again
    for url, found in first.items():
        for name, resource in found.items():
            decode(url, name, resource.body)
