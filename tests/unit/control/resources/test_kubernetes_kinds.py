"""Kubernetes kinds: what is refused and in which words, what is filled in, what is printed."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from control.resources import KINDS, config_map, deployment, endpoints, event, namespace, node, pod, service
from control.resources.kind import Kind


def errors(kind: Kind, obj: Any) -> list[str]:
    return [str(error) for error in kind.validate(kind.default(obj)).errors]


def a_service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


def a_pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}


def a_container(**fields: Any) -> dict[str, Any]:
    return a_pod(containers=[{"name": "c", "image": "i:1", **fields}])


def a_deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": a_pod()["spec"]}
    return {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec},
    }


NEGATIVE = "must be greater than or equal to 0"
PORT = "must be between 1 and 65535, inclusive"


@pytest.mark.parametrize(
    ("kind", "obj", "expected"),
    [
        (service.KIND, a_service(), []),
        (service.KIND, a_service(foo=1), ['spec.foo: unknown field "spec.foo"']),
        (service.KIND, a_service(ports=[]), ["spec.ports: Required value"]),
        (service.KIND, a_service(ports=[], clusterIP="None"), []),
        (service.KIND, a_service(ports=[{"port": "80"}]), ['spec.ports[0].port: Invalid value: "80": must be an integer']),
        (service.KIND, a_service(ports=[{"port": 0}]), [f"spec.ports[0].port: Invalid value: 0: {PORT}"]),
        (service.KIND, a_service(ports=[{"name": "a", "port": 1}, {"name": "a", "port": 1}]),
         ['spec.ports[1]: Duplicate value: {"port": 1, "protocol": "TCP"}', 'spec.ports[1].name: Duplicate value: "a"']),
        (service.KIND, a_service(ports=[{"port": 1}, {"port": 2}]),
         ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"]),
        (service.KIND, a_service(ports=[{"port": 1, "targetPort": 70000}]), [f"spec.ports[0].targetPort: Invalid value: 70000: {PORT}"]),
        (service.KIND, a_service(ports=[{"port": 1, "targetPort": "9"}]),
         ['spec.ports[0].targetPort: Invalid value: "9": must contain at least one letter (a-z)']),
        (service.KIND, a_service(type="Best"),
         ['spec.type: Unsupported value: "Best": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
        (service.KIND, a_service(type="ExternalName"), ["spec.externalName: Required value"]),
        (pod.KIND, a_pod(), []),
        (pod.KIND, {"metadata": {"name": "p"}}, ["spec: Required value"]),
        (pod.KIND, a_pod(containers=[]), ["spec.containers: Required value"]),
        (pod.KIND, a_pod(containers=[{"name": "c"}]), ["spec.containers[0].image: Required value"]),
        (pod.KIND, a_pod(initContainers=[{"name": "c", "image": "i"}]), ['spec.containers[0].name: Duplicate value: "c"']),
        (pod.KIND, a_pod(restartPolicy="Maybe"),
         ['spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "Never", "OnFailure"']),
        (pod.KIND, a_container(volumeMounts=[{"name": "v", "mountPath": "/v"}]), ['spec.containers[0].volumeMounts[0].name: Not found: "v"']),
        (pod.KIND, a_container(ports=[{"containerPort": 70000}]), [f"spec.containers[0].ports[0].containerPort: Invalid value: 70000: {PORT}"]),
        (pod.KIND, a_container(livenessProbe={}), ["spec.containers[0].livenessProbe: Required value: must specify a handler type"]),
        (pod.KIND, a_container(livenessProbe={"httpGet": {"port": 80}, "exec": {"command": ["x"]}}),
         ["spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"]),
        (pod.KIND, a_container(livenessProbe={"httpGet": {"port": 80}, "periodSeconds": -1}),
         [f"spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: {NEGATIVE}"]),
        (deployment.KIND, a_deployment(), []),
        (deployment.KIND, a_deployment(replicas=-1, strategy={"type": "Now"}),
         [f"spec.replicas: Invalid value: -1: {NEGATIVE}",
          'spec.strategy.type: Unsupported value: "Now": supported values: "Recreate", "RollingUpdate"']),
        (deployment.KIND, a_deployment(selector={"matchLabels": {"app": "b"}}),
         ['spec.template.metadata.labels: Invalid value: {"app": "a"}: `selector` does not match template `labels`']),
        (deployment.KIND, a_deployment(selector={}), ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
        (event.KIND, {"metadata": {"name": "e"}, "involvedObject": {}, "lastTimestamp": "noon"},
         ['lastTimestamp: Invalid value: "noon": must be an RFC 3339 time']),
        (config_map.KIND, {"metadata": {"name": "c"}, "data": {"a": 1}}, ["data.a: Invalid value: 1: must be a string"]),
        (config_map.KIND, {"metadata": {"name": "c"}, "data": ["a"]}, ['data: Invalid value: "list": must be an object']),
        (service.KIND, a_service(ports={"port": 1}), ['spec.ports: Invalid value: "object": must be a list']),
        (config_map.SECRET, {"metadata": {"name": "s"}, "data": {"a": "?"}}, ['data[a]: Invalid value: "<value>": must be base64']),
    ],
)  # fmt: skip
def test_errors(kind: Kind, obj: Any, expected: list[str]) -> None:
    before = copy.deepcopy(obj)
    assert errors(kind, obj) == expected
    assert obj == before


def test_service_defaults() -> None:
    spec = service.KIND.default(a_service())["spec"]
    assert spec["ports"] == [{"port": 80, "targetPort": 80, "protocol": "TCP"}]
    assert (spec["type"], spec["sessionAffinity"], spec["internalTrafficPolicy"]) == (
        "ClusterIP",
        "None",
        "Cluster",
    )


def test_pod_defaults() -> None:
    made = pod.KIND.default(a_pod(volumes=[{"name": "v"}]))
    spec = made["spec"]
    assert made["status"] == {"phase": "Pending"}
    assert (spec["serviceAccountName"], spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == (
        "default",
        "Always",
        30,
    )
    assert spec["volumes"] == [{"name": "v", "emptyDir": {}}]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("host:5000/a", "Always"),
        ("a@sha256:00", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert pod.KIND.default(a_container(image=image))["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_deployment_defaults() -> None:
    spec = deployment.KIND.default(a_deployment())["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (1, 10, 600)
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert "serviceAccountName" not in spec["template"]["spec"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_defaulting_twice_is_defaulting_once(kind: Kind) -> None:
    samples = {
        "Service": a_service(),
        "Pod": a_pod(),
        "Deployment": a_deployment(),
        "ReplicaSet": a_deployment(),
    }
    if kind.kind in samples:
        once = kind.default(samples[kind.kind])
        assert kind.default(once) == once


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_kind_describes_its_fields(kind: Kind) -> None:
    assert kind.schema["type"] == "object"
    assert kind.schema["properties"]["metadata"]["type"] == "object"
    assert kind.schema.get("description"), "kubectl explain prints it"


def test_fields_without_effect_are_one_warning() -> None:
    obj = a_deployment()
    obj["spec"]["template"]["spec"] |= {"tolerations": [{"key": "x"}], "affinity": {}}
    assert deployment.KIND.validate(obj).warnings == (
        "no effect in Glassmesh: spec.template.spec.affinity, spec.template.spec.tolerations",
    )


def status(name: str = "c", **fields: Any) -> dict[str, Any]:
    return {"name": name, "ready": False, "restartCount": 0, **fields}


RUNNING = {"state": {"running": {}}, "ready": True}


@pytest.mark.parametrize(
    ("spec", "parts", "ready", "text"),
    [
        ({}, {}, "0/1", "Pending"),
        ({}, {"phase": "Running", "containerStatuses": [status(**RUNNING)]}, "1/1", "Running"),
        ({}, {"containerStatuses": [status(state={"waiting": {"reason": "CrashLoopBackOff"}})]}, "0/1", "CrashLoopBackOff"),
        ({}, {"containerStatuses": [status(state={"terminated": {"exitCode": 3}})]}, "0/1", "ExitCode:3"),
        ({}, {"phase": "Succeeded", "containerStatuses": [status(state={"terminated": {"exitCode": 0, "reason": "Completed"}})]}, "0/1", "Completed"),
        ({"initContainers": [{"name": "i", "image": "x"}]}, {"initContainerStatuses": [status("i", state={"running": {}})]}, "0/1", "Init:0/1"),
        ({"initContainers": [{"name": "i", "image": "x"}]},
         {"initContainerStatuses": [status("i", state={"terminated": {"exitCode": 1, "reason": "Error"}})]}, "0/1", "Init:Error"),
        ({"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always"}]},
         {"phase": "Running", "containerStatuses": [status(**RUNNING)], "initContainerStatuses": [status("i", started=True, **RUNNING)]}, "2/2", "Running"),
    ],
)  # fmt: skip
def test_pod_columns(spec: Any, parts: Any, ready: str, text: str) -> None:
    obj = {**pod.KIND.default(a_pod(**spec)), "status": {"phase": "Pending", **parts}}
    assert (pod.ready(obj), pod.phase(obj)) == (ready, text)
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert pod.phase(obj) == "Terminating"


def cells(kind: Kind, obj: Any, *names: str) -> list[Any]:
    by_name = {column.name: column for column in kind.columns}
    return [by_name[name].cell(obj) for name in names]


def test_other_columns() -> None:
    external = service.KIND.default(
        {"metadata": {"name": "e"}, "spec": {"type": "ExternalName", "externalName": "x.example"}}
    )
    assert cells(service.KIND, external, "Cluster-IP", "External-IP", "Port(s)") == [
        "<none>",
        "x.example",
        "<none>",
    ]
    balanced = service.KIND.default(a_service(type="LoadBalancer"))
    assert cells(service.KIND, balanced, "External-IP", "Port(s)") == ["<pending>", "80/TCP"]
    balanced["status"]["loadBalancer"]["ingress"] = [{"ip": "127.0.0.1"}]
    assert cells(service.KIND, balanced, "External-IP") == ["127.0.0.1"]
    ready_node = {
        "metadata": {"name": "n"},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert cells(node.KIND, ready_node, "Status", "Roles", "Version") == ["Ready", "<none>", "<unknown>"]
    about = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p"},
        "source": {"component": "kubelet", "host": "n"},
    }
    assert cells(event.KIND, about, "Object", "Source", "Last Seen") == ["pod/p", "kubelet, n", "<unknown>"]
    many = {"subsets": [{"ports": [{"port": 80}], "addresses": [{"ip": f"10.0.0.{n}"} for n in range(5)]}]}
    assert cells(endpoints.KIND, many, "Endpoints") == ["10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more..."]
    assert cells(namespace.KIND, {"status": {"phase": "Terminating"}}, "Status") == ["Terminating"]


def test_what_may_not_change() -> None:
    old, new = pod.KIND.default(a_pod()), pod.KIND.default(a_container(image="i:2"))
    assert pod.KIND.validate_update(old, new).errors == ()
    assert pod.KIND.validate_update(old, pod.KIND.default(a_pod(nodeName="n"))).errors == ()
    assert pod.KIND.validate_update(old, pod.KIND.default(a_container(command=["x"]))).errors
    bound = pod.KIND.default(a_pod(nodeName="n"))
    assert pod.KIND.validate_update(bound, pod.KIND.default(a_pod(nodeName="m"))).errors
    fixed = {"metadata": {"name": "c"}, "data": {"a": "1"}, "immutable": True}
    assert config_map.KIND.validate_update(fixed, {**fixed, "data": {"a": "2"}}).errors


def test_secret_strings_become_data() -> None:
    made = config_map.SECRET.default({"metadata": {"name": "s"}, "stringData": {"a": "b"}})
    assert (made["data"], made["type"], "stringData" in made) == ({"a": "Yg=="}, "Opaque", False)
