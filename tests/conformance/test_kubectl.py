"""An unmodified kubectl against our API: every command a user of the mesh types."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

APP = """
apiVersion: v1
kind: Service
metadata:
  name: shop
  labels: {app: shop}
spec:
  selector: {app: shop}
  ports:
  - {name: http, port: 80, targetPort: web}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-v1
  labels: {app: shop, version: v1}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop, version: v1}}
  template:
    metadata: {labels: {app: shop, version: v1}}
    spec:
      serviceAccountName: shop
      securityContext: {runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: shop
        image: example.com/shop:1
        imagePullPolicy: IfNotPresent
        env:
        - {name: LEVEL, value: info}
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        ports: [{name: web, containerPort: 9080}]
        readinessProbe: {httpGet: {path: /health, port: web}}
        resources: {requests: {cpu: 100m}, limits: {memory: 64Mi}}
        volumeMounts: [{name: tmp, mountPath: /tmp}]
      volumes: [{name: tmp, emptyDir: {}}]
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: shop, subset: v2}}]
  - route:
    - {destination: {host: shop, subset: v1}, weight: 90}
    - {destination: {host: shop, subset: v2}, weight: 10}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
"""
BAD = """
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: bad}
spec:
  replicas: -1
  color: blue
  selector: {matchLabels: {app: bad}}
  template:
    metadata: {labels: {app: bad}}
    spec: {containers: [{name: Bad_Name, image: x, ports: [{containerPort: 0}]}]}
"""
Kubectl = Any


def test_apply_get_delete(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    assert kubectl("apply", *n, "-f", "-", stdin=APP).splitlines() == [
        "service/shop created", "serviceaccount/shop created", "deployment.apps/shop-v1 created",
    ]  # fmt: skip
    assert kubectl("apply", *n, "-f", "-", stdin=APP).count("unchanged") == 3
    changed = APP.replace("replicas: 2", "replicas: 3").replace("value: info", "value: debug")
    assert "deployment.apps/shop-v1 configured" in kubectl("apply", *n, "-f", "-", stdin=changed)
    found = kubectl.json("get", "deployment", "shop-v1", *n)
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert (found["spec"]["replicas"], container["env"][0]["value"], len(container["env"])) == (3, "debug", 2)
    removed = APP.replace("        - {name: LEVEL, value: info}\n", "")
    kubectl("apply", *n, "-f", "-", stdin=removed)
    found = kubectl.json("get", "deployment", "shop-v1", *n)
    assert [e["name"] for e in found["spec"]["template"]["spec"]["containers"][0]["env"]] == ["NODE"]
    assert kubectl("delete", *n, "-f", "-", stdin=APP).count("deleted") == 3
    assert kubectl("get", "all", *n) == ""


def test_tables(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    kubectl("apply", *n, "-f", "-", stdin=APP + "---" + ROUTE)
    heading, row = kubectl("get", "service", *n).splitlines()
    assert heading.split() == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]
    assert re.fullmatch(r"shop\s+ClusterIP\s+10\.96\.\d+\.\d+\s+<none>\s+80/TCP\s+\d+s", row)
    heading, row = kubectl("get", "deploy", *n, "-o", "wide").splitlines()
    assert heading.split() == [
        "NAME",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
        "CONTAINERS",
        "IMAGES",
        "SELECTOR",
    ]
    assert row.split()[:4] == ["shop-v1", "0/2", "0", "0"]
    assert kubectl("get", "vs", *n).splitlines()[0].split() == ["NAME", "GATEWAYS", "HOSTS", "AGE"]
    everywhere = kubectl("get", "vs", "-A").splitlines()
    assert everywhere[0].split()[0] == "NAMESPACE"
    assert any(line.split()[:2] == [namespace, "shop"] for line in everywhere)
    assert "service/shop" in kubectl("get", "all", *n)
    assert kubectl("get", "deploy", *n, "-l", "version=v2") == ""
    assert kubectl("get", "deploy", *n, "-l", "app in (shop)", "-o", "name") == "deployment.apps/shop-v1\n"
    path = "{.spec.template.spec.containers[*].image}"
    assert kubectl("get", "deploy", "shop-v1", *n, "-o", f"jsonpath={path}") == "example.com/shop:1"
    assert (
        kubectl("get", "deploy", *n, "-o", "custom-columns=N:.metadata.name", "--no-headers") == "shop-v1\n"
    )
    assert "apiVersion: networking.istio.io/v1" in kubectl(
        "get", "virtualservices.networking.istio.io", "shop", *n, "-o", "yaml"
    )
    assert "No resources found" in kubectl.run("get", "pods", *n).stderr


def test_server_side_apply(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    server = ("apply", *n, "--server-side", "-f", "-")
    assert kubectl(*server, stdin=APP).count("serverside-applied") == 3
    kubectl("scale", *n, "deploy/shop-v1", "--replicas=5")
    refused = kubectl.fails(*server, stdin=APP)
    assert "conflict" in refused
    assert ".spec.replicas" in refused
    kubectl(*server, "--force-conflicts", stdin=APP)
    assert kubectl.json("get", "deploy", "shop-v1", *n)["spec"]["replicas"] == 2
    managed = kubectl("get", "deploy", "shop-v1", *n, "-o", "yaml", "--show-managed-fields")
    assert "operation: Apply" in managed


def test_server_side_apply_takes_over_from_client_side(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    kubectl("apply", *n, "-f", "-", stdin=APP)
    done = kubectl.run(
        "apply", *n, "--server-side", "-f", "-", stdin=APP.replace("value: info", "value: debug")
    )
    assert (done.returncode, "conflict" in done.stderr, "failed" in done.stderr) == (0, False, False)
    assert "debug" in kubectl("get", "deploy", "shop-v1", *n, "-o", "yaml")


def test_change_in_place(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    kubectl("apply", *n, "-f", "-", stdin=APP)
    deploy = ("deploy/shop-v1", *n)
    kubectl("label", *deploy, "team=a")
    kubectl("annotate", *deploy, "note=hello")
    kubectl("label", *deploy, "team-")
    assert "already exists" not in kubectl("label", *deploy, "app=store", "--overwrite")
    kubectl(
        "patch",
        *deploy,
        "-p",
        json.dumps({"spec": {"template": {"spec": {"containers": [{"name": "shop", "image": "x:2"}]}}}}),
    )
    kubectl(
        "patch",
        *deploy,
        "--type=json",
        "-p",
        json.dumps([{"op": "replace", "path": "/spec/replicas", "value": 4}]),
    )
    kubectl("patch", *deploy, "--type=merge", "-p", json.dumps({"spec": {"paused": True}}))
    kubectl("set", "env", *deploy, "EXTRA=1")
    kubectl("edit", *deploy, KUBE_EDITOR="sed -i 's/^  replicas:.*/  replicas: 6/'")
    found = kubectl.json("get", *deploy)
    assert found["metadata"]["labels"] == {"app": "store", "version": "v1"}
    assert found["metadata"]["annotations"]["note"] == "hello"
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], [e["name"] for e in container["env"]]) == ("x:2", ["LEVEL", "NODE", "EXTRA"])
    assert (found["spec"]["replicas"], found["spec"]["paused"]) == (6, True)
    kubectl("scale", *deploy, "--replicas=1")
    assert kubectl.json("get", *deploy)["spec"]["replicas"] == 1


def test_create_commands(kubectl: Kubectl, namespace: str) -> None:
    """These send protobuf."""
    n = ("-n", namespace)
    kubectl(
        "create",
        *n,
        "deployment",
        "web",
        "--image=nginx",
        "--replicas=2",
        "--port=80",
        "--",
        "sh",
        "-c",
        "sleep 1",
    )
    kubectl("create", *n, "configmap", "settings", "--from-literal=a=b")
    kubectl("create", *n, "secret", "generic", "keys", "--from-literal=a=b")
    kubectl("create", *n, "serviceaccount", "robot")
    kubectl("create", *n, "service", "clusterip", "front", "--tcp=80:8080")
    kubectl("expose", *n, "deployment", "web", "--port=80")
    kubectl("run", *n, "once", "--image=busybox", "--restart=Never", "--", "true")
    web = kubectl.json("get", "deploy", "web", *n)["spec"]
    assert (web["replicas"], web["template"]["spec"]["containers"][0]["command"]) == (
        2,
        ["sh", "-c", "sleep 1"],
    )
    assert kubectl.json("get", "secret", "keys", *n)["data"] == {"a": "Yg=="}
    assert kubectl.json("get", "svc", "front", *n)["spec"]["ports"][0]["targetPort"] == 8080
    assert kubectl.json("get", "svc", "web", *n)["spec"]["selector"] == {"app": "web"}
    assert "already exists" in kubectl.fails("create", *n, "configmap", "settings")
    assert kubectl("get", "sa", *n, "-o", "name").split() == [
        "serviceaccount/default",
        "serviceaccount/robot",
    ]


def test_bad_manifests_are_refused_whole(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    said = kubectl.fails("apply", *n, "-f", "-", stdin=BAD)
    for path in ("spec.replicas", "spec.color", "containers[0].name", "containers[0].ports[0].containerPort"):
        assert path in said
    assert kubectl("get", "deploy,cm", *n, "-o", "name") == "configmap/good\n"
    kubectl("apply", *n, "-f", "-", stdin=ROUTE)
    before = kubectl.json("get", "vs", "shop", *n)
    said = kubectl.fails("apply", *n, "-f", "-", stdin=ROUTE.replace("weight: 90", "weight: -1, wieght: 2"))
    assert "spec.http[1].route[0].weight" in said
    assert 'unknown field "spec.http[1].route[0].wieght"' in said
    assert kubectl.json("get", "vs", "shop", *n) == before
    typo = APP.replace("imagePullPolicy: IfNotPresent", "imagePullPolice: IfNotPresent")
    assert "strict decoding error: unknown field" in kubectl.fails("apply", *n, "-f", "-", stdin=typo)
    loose = kubectl.run("apply", *n, "--validate=warn", "-f", "-", stdin=typo)
    assert (loose.returncode, "Warning: unknown field" in loose.stderr) == (0, True)
    assert "no matches for kind" in kubectl.fails(
        "apply",
        *n,
        "-f",
        "-",
        stdin=json.dumps({"apiVersion": "x/v1", "kind": "Y", "metadata": {"name": "a"}}),
    )


def test_dry_run_and_diff(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    assert "created (server dry run)" in kubectl("apply", *n, "--dry-run=server", "-f", "-", stdin=ROUTE)
    assert kubectl("get", "vs", *n) == ""
    kubectl("apply", *n, "-f", "-", stdin=ROUTE)
    difference = kubectl.run("diff", *n, "-f", "-", stdin=ROUTE.replace("weight: 90", "weight: 80"))
    assert difference.returncode == 1
    assert "-      weight: 90" in difference.stdout
    assert "+      weight: 80" in difference.stdout


def become_ready(kubectl: Kubectl, namespace: str, pod: str) -> None:
    """Do to a Pod what a node does."""
    n = ("-n", namespace)
    kubectl("patch", *n, "pod", pod, "-p", '{"spec":{"nodeName":"one"}}')
    status = {
        "phase": "Running",
        "podIP": "10.244.0.7",
        "podIPs": [{"ip": "10.244.0.7"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"name": "shop", "ready": True, "restartCount": 0, "image": "x", "imageID": "", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
        ],
    }  # fmt: skip
    kubectl(
        "patch", *n, "pod", pod, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )


POD = """
apiVersion: v1
kind: Pod
metadata: {name: shop, labels: {app: shop}}
spec:
  containers: [{name: shop, image: example.com/shop:1, ports: [{name: web, containerPort: 9080}]}]
"""


def test_pods_wait_watch_and_graceful_deletion(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    watching = kubectl.start("get", "pods", *n, "-w", "--output-watch-events")
    try:
        kubectl("apply", *n, "-f", "-", stdin=APP + "---" + POD)
        become_ready(kubectl, namespace, "shop")
        kubectl("wait", *n, "--for=condition=Ready", "pod/shop", "--timeout=5s")
        assert kubectl("get", "pod", "shop", *n, "-o", "wide").splitlines()[1].split()[1:3] == [
            "1/1",
            "Running",
        ]
        assert "shop" in kubectl(
            "get", "pods", *n, "--field-selector=spec.nodeName=one,status.phase=Running", "-o", "name"
        )
        kubectl(
            "wait",
            *n,
            "--for=jsonpath={.subsets[0].addresses[0].ip}=10.244.0.7",
            "endpoints/shop",
            "--timeout=5s",
        )
        kubectl("delete", *n, "pod", "shop", "--wait=false")
        assert "Terminating" in kubectl("get", "pods", *n)
        deleting = kubectl.start("delete", *n, "pod", "shop", "--grace-period=0", "--force", "--wait=true")
        deleting.communicate(timeout=10)
        kubectl("wait", *n, "--for=delete", "pod/shop", "--timeout=5s")
        assert watching.stdout is not None
        seen = []
        while not seen or seen[-1] != "DELETED":
            seen.append(watching.stdout.readline().split()[0])
        assert seen[:3] == ["EVENT", "ADDED", "MODIFIED"]
    finally:
        watching.terminate()
        watching.communicate()


def test_describe(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    kubectl("apply", *n, "-f", "-", stdin=APP + "---" + ROUTE + "---" + POD)
    become_ready(kubectl, namespace, "shop")
    pod = kubectl.json("get", "pod", "shop", *n)
    about = {
        "kind": "Pod",
        "name": "shop",
        "namespace": namespace,
        "uid": pod["metadata"]["uid"],
        "apiVersion": "v1",
    }
    now = datetime.now(UTC).isoformat()
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "shop.1", "namespace": namespace}, "involvedObject": about,
        "reason": "Started", "message": "Started container shop", "type": "Normal", "source": {"component": "kubelet"},
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    }  # fmt: skip
    kubectl("create", "-f", "-", stdin=json.dumps(event))
    kubectl(
        "wait",
        *n,
        "--for=jsonpath={.subsets[0].addresses[0].ip}=10.244.0.7",
        "endpoints/shop",
        "--timeout=5s",
    )
    for what, words in {
        "pod/shop": ["Node:", "10.244.0.7", "Started container shop"],
        "service/shop": ["10.244.0.7:9080", "TargetPort:"],
        "deployment/shop-v1": ["2 desired", "RollingUpdateStrategy"],
        "virtualservice/shop": ["Subset:  v1", "Weight:    10"],
        "destinationrule/shop": ["Subsets:"],
        "serviceaccount/shop": ["Name:"],
        f"namespace/{namespace}": ["Active"],
    }.items():
        done = kubectl.run("describe", *n, what)
        assert (done.returncode, done.stderr) == (0, ""), what
        for word in words:
            assert word in done.stdout, (what, word)
    assert "Started container shop" in kubectl("get", "events", *n)
    assert "Started container shop" in kubectl("events", *n, "--for=pod/shop")


def test_rollout(kubectl: Kubectl, namespace: str) -> None:
    n = ("-n", namespace)
    kubectl("apply", *n, "-f", "-", stdin=APP)
    kubectl("rollout", "restart", *n, "deploy/shop-v1")
    found = kubectl.json("get", "deploy", "shop-v1", *n)
    assert "kubectl.kubernetes.io/restartedAt" in found["spec"]["template"]["metadata"]["annotations"]
    waiting = kubectl.start("rollout", "status", *n, "deploy/shop-v1", "--timeout=20s")
    done = {
        "observedGeneration": found["metadata"]["generation"],
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
    }
    status = {
        "status": {**done, "availableReplicas": 2, "conditions": [{"type": "Available", "status": "True"}]}
    }
    kubectl(
        "patch", *n, "deploy", "shop-v1", "--subresource=status", "--type=merge", "-p", json.dumps(status)
    )
    assert "successfully rolled out" in waiting.communicate(timeout=20)[0]
    kubectl("wait", *n, "--for=condition=Available", "deploy/shop-v1", "--timeout=5s")


def test_discovery_and_explain(kubectl: Kubectl) -> None:
    resources = kubectl("api-resources")
    for words in (
        "po +v1 +true +Pod",
        "deploy +apps/v1 +true",
        "vs +networking.istio.io/v1 +true +VirtualService",
        "ns +v1 +false",
    ):
        assert re.search(words, resources), words
    versions = kubectl("api-versions").split()
    assert {
        "v1",
        "apps/v1",
        "networking.istio.io/v1",
        "networking.istio.io/v1beta1",
        "security.istio.io/v1",
    } <= set(versions)
    assert "http" in kubectl("explain", "virtualservice.spec")
    assert "containerPort" in kubectl("explain", "pod.spec.containers.ports")
    assert "Server Version: v1.32" in kubectl("version")
    assert kubectl("get", "--raw", "/healthz") == "ok"


def test_who_and_what(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "kubernetes-admin" in kubectl("auth", "whoami")
    assert kubectl.json("get", "namespace", "default")["status"]["phase"] == "Active"
    unknown = kubectl.run("get", "pods", "--token=wrong")
    assert (unknown.returncode, "Unauthorized" in unknown.stderr) == (1, True)
    assert "NotFound" in kubectl.fails("get", "pod", "missing")


def test_namespaces_go_with_what_is_in_them(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "short-lived")
    kubectl("apply", "-n", "short-lived", "-f", "-", stdin=APP)
    kubectl("delete", "namespace", "short-lived", "--timeout=10s")
    assert "NotFound" in kubectl.fails("get", "namespace", "short-lived")
    assert "may not be deleted" in kubectl.fails("delete", "namespace", "default")


@pytest.mark.parametrize("mode", ["background", "foreground", "orphan"])
def test_cascade(kubectl: Kubectl, namespace: str, mode: str) -> None:
    n = ("-n", namespace)
    kubectl("apply", *n, "-f", "-", stdin=APP)
    uid = kubectl.json("get", "deploy", "shop-v1", *n)["metadata"]["uid"]
    owner = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": "shop-v1",
        "uid": uid,
        "blockOwnerDeletion": True,
    }
    owned = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "owned", "ownerReferences": [owner]},
    }
    kubectl("create", *n, "-f", "-", stdin=json.dumps(owned))
    kubectl("delete", *n, "deploy", "shop-v1", f"--cascade={mode}", "--timeout=10s")
    if mode == "orphan":
        assert kubectl("get", "cm", *n, "-o", "name") == "configmap/owned\n"
    else:
        kubectl("wait", *n, "--for=delete", "configmap/owned", "--timeout=5s")


def test_kubeconfig_is_private(kubectl: Kubectl) -> None:
    assert kubectl.kubeconfig.stat().st_mode & 0o777 == 0o600
