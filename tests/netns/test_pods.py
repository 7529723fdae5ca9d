"""Pods as the kubelet runs them: users, files, volumes, probes, restarts, logs, events, rollouts, deletion."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import Any

import pytest
from click import ClickException

from cli.client import ApiFailure
from node import running_mesh
from node.network import BRIDGE, BRIDGE_MAC
from tests.netns.mesh import Mesh, Object, deployment, is_ready, processes

pytestmark = pytest.mark.netns

SLEEP = ["sleep", "infinity"]


def pod(name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": "plain", "labels": {"app": name}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"terminationGracePeriodSeconds": 1} | spec,
    }


def state(mesh: Mesh, name: str) -> dict[str, Any]:
    return mesh.get(f"/api/v1/namespaces/plain/pods/{name}").get("status", {})


def container(mesh: Mesh, name: str) -> dict[str, Any]:
    statuses = state(mesh, name).get("containerStatuses") or [{"state": {}, "restartCount": 0}]
    return dict(statuses[0])


def test_user_files_and_names_of_an_app(mesh: Mesh) -> None:
    mesh.apply(deployment("user", SLEEP, workingDir="/tmp"))
    (one,) = mesh.ready("user")
    script = """
import json, os, socket
def can_write(path):
    try:
        open(os.path.join(path, "x"), "w").close()
        return True
    except OSError:
        return False
print(json.dumps({"ids": [os.getuid(), os.getgid(), os.getgroups()], "cwd": os.getcwd(), "host": socket.gethostname(),
  "tmp": can_write("/tmp"), "etc": can_write("/etc"), "home": can_write("/"), "run": os.listdir("/run"),
  "hosts": open("/etc/hosts").read(), "resolv": open("/etc/resolv.conf").read()}))
"""
    found = mesh.python("plain/user", script)
    name, ip = one["metadata"]["name"], one["status"]["podIP"]
    assert found["ids"] == [1000, 1000, []]
    assert (found["cwd"], found["host"]) == ("/tmp", name)
    assert (found["tmp"], found["etc"], found["home"]) == (True, False, False)
    assert set(found["run"]) <= {"glassmesh"}
    assert f"{ip}\t{name}" in found["hosts"]
    assert found["resolv"].splitlines()[0] == "search plain.svc.cluster.local svc.cluster.local cluster.local"
    assert mesh.exec("plain/user", "id", "-u", root=True) == "0\n"


def test_exec_reports_how_the_command_ended(mesh: Mesh) -> None:
    mesh.apply(deployment("user", SLEEP, workingDir="/tmp"))
    mesh.ready("user")
    for command, status in (
        (["sh", "-c", "exit 3"], 3),
        (["no-such-command"], 127),
        (["sh", "-c", "kill -9 $$"], 137),
    ):
        done = subprocess.run(
            mesh.command("exec", "plain/user", "--", *command), capture_output=True, check=False
        )
        assert done.returncode == status, done.stderr
    assert "there are:" in mesh.glassmesh("exec", "plain/nobody", "--", "true", check=False)


def test_environment_and_volumes(mesh: Mesh) -> None:
    data = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "plain"},
        "data": {"color": "blue"},
    }
    mesh.apply(data)
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "scratch", "emptyDir": {}},
        {
            "name": "podinfo",
            "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]},
        },
        {
            "name": "token",
            "projected": {"sources": [{"serviceAccountToken": {"audience": "istio-ca", "path": "t"}}]},
        },
    ]
    mounts = [
        {"name": "settings", "mountPath": "/etc/settings/deep"},
        {"name": "scratch", "mountPath": "/no/such/directory/here"},
        {"name": "podinfo", "mountPath": "/etc/podinfo"},
        {"name": "token", "mountPath": "/var/run/secrets/tokens"},
    ]
    env = [
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
        {"name": "BOTH", "value": "$(IP) $(COLOR)"},
    ]
    writer = ["sh", "-c", "echo from-init > /no/such/directory/here/file"]
    inits = [{"name": "writer", "image": "busybox", "command": writer, "volumeMounts": [mounts[1]]}]
    app = {"name": "app", "image": "busybox", "command": SLEEP, "env": env, "volumeMounts": mounts}
    mesh.apply(pod("volumes", {"volumes": volumes, "initContainers": inits, "containers": [app]}))
    (one,) = mesh.ready("volumes")

    def read(path: str) -> str:
        return mesh.exec("plain/volumes", "cat", path)

    assert mesh.exec("plain/volumes", "printenv", "BOTH") == f"{one['status']['podIP']} blue\n"
    assert read("/etc/settings/deep/color") == "blue"
    assert read("/no/such/directory/here/file") == "from-init\n"
    assert 'app="volumes"' in read("/etc/podinfo/labels")
    assert read("/var/run/secrets/tokens/t").count(".") == 2
    assert "Read-only" in mesh.exec("plain/volumes", "touch", "/etc/settings/deep/x", check=False)
    mesh.apply(data | {"data": {"color": "green"}})
    mesh.wait(lambda: read("/etc/settings/deep/color") == "green", "the volume to follow its ConfigMap", 5)
    mesh.patch("/api/v1/namespaces/plain/pods/volumes", {"metadata": {"labels": {"new": "label"}}})
    mesh.wait(lambda: 'new="label"' in read("/etc/podinfo/labels"), "the label to be told", 5)


def test_a_crash_is_restarted_with_growing_pauses(mesh: Mesh) -> None:
    mesh.apply(
        pod(
            "crash",
            {"containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", "echo run; exit 7"]}]},
        )
    )
    mesh.wait(lambda: container(mesh, "crash")["restartCount"] >= 2, "two restarts")
    mesh.wait(
        lambda: container(mesh, "crash")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff",
        "CrashLoopBackOff",
    )
    last = container(mesh, "crash")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"]) == (7, "Error")
    assert mesh.events("BackOff", "crash")
    assert mesh.glassmesh("logs", "plain/crash", "--previous") == "run\n"
    mesh.delete("/api/v1/namespaces/plain/pods/crash")


def test_pods_that_end(mesh: Mesh) -> None:
    for name, code, phase in (("good", 0, "Succeeded"), ("bad", 4, "Failed")):
        spec = {
            "restartPolicy": "Never",
            "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", f"exit {code}"]}],
        }
        mesh.apply(pod(name, spec))
        mesh.wait(
            lambda name=name, phase=phase: state(mesh, name).get("phase") == phase, f"{name} to be {phase}"
        )
        assert container(mesh, name)["restartCount"] == 0


def test_a_failing_init_container_holds_the_pod_back(mesh: Mesh) -> None:
    inits = [{"name": "i", "image": "busybox", "command": ["sh", "-c", "exit 1"]}]
    mesh.apply(
        pod(
            "held",
            {"initContainers": inits, "containers": [{"name": "c", "image": "busybox", "command": SLEEP}]},
        )
    )
    mesh.wait(
        lambda: (state(mesh, "held").get("initContainerStatuses") or [{}])[0].get("restartCount", 0) >= 1,
        "a retry",
    )
    assert state(mesh, "held")["phase"] == "Pending"
    assert container(mesh, "held")["state"] == {"waiting": {"reason": "PodInitializing"}}
    mesh.delete("/api/v1/namespaces/plain/pods/held")


@pytest.mark.parametrize(
    ("name", "fields", "reason", "event", "words"),
    [
        ("image", {"image": "postgres:16"}, "ErrImagePull", "Failed", "no program stands for image 'postgres:16'"),
        ("config", {"image": "busybox", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]},
         "CreateContainerConfigError", "Failed", 'configmap "no" not found'),
        ("start", {"image": "busybox", "command": ["/no/such/program"]}, "", "Failed", "No such file or directory"),
    ],
)  # fmt: skip
def test_what_cannot_run_says_why(
    mesh: Mesh, name: str, fields: Object, reason: str, event: str, words: str
) -> None:
    name = f"cannot-{name}"
    mesh.apply(pod(name, {"containers": [{"name": "c"} | fields]}))
    mesh.wait(lambda: [text for text in mesh.events(event, name) if words in text], f"an event with {words}")
    if reason:
        mesh.wait(lambda: container(mesh, name)["state"].get("waiting", {}).get("reason") == reason, reason)
    else:
        mesh.wait(
            lambda: container(mesh, name).get("lastState", {}).get("terminated", {}).get("exitCode") == 128,
            "128",
        )
    mesh.delete(f"/api/v1/namespaces/plain/pods/{name}")


def test_liveness_restarts_and_readiness_does_not(mesh: Mesh) -> None:
    probe = {"exec": {"command": ["test", "!", "-e", "/tmp/dead"]}, "periodSeconds": 1, "failureThreshold": 1}
    ready = {"tcpSocket": {"port": "web"}, "periodSeconds": 1, "failureThreshold": 1}
    app = deployment(
        "probed", ["python3", "-m", "demo_apps.echo", "8080"], ports=[{"containerPort": 8080, "name": "web"}],
        livenessProbe=probe, readinessProbe=ready,
        startupProbe={"httpGet": {"path": "/health", "port": "web"}, "periodSeconds": 1},
    )  # fmt: skip
    mesh.apply(app)
    (one,) = mesh.ready("probed")
    name = one["metadata"]["name"]
    mesh.exec("plain/probed", "touch", "/tmp/dead")
    mesh.wait(lambda: container(mesh, name)["restartCount"] == 1, "a restart")
    assert any("failed liveness probe, will be restarted" in text for text in mesh.events("Killing", name))
    mesh.ready("probed")  # the file went with the container's /tmp
    assert container(mesh, name)["restartCount"] == 1


def test_logs_through_the_api(mesh: Mesh) -> None:
    script = "i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); done; exec sleep infinity"
    mesh.apply(
        pod("talker", {"containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", script]}]})
    )
    mesh.ready("talker")
    kubectl = ["kubectl", "--kubeconfig", str(mesh.state / "kubeconfig"), "-n", "plain"]
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    mesh.wait(lambda: "line 4" in mesh.glassmesh("logs", "plain/talker"), "the last line")
    tail = subprocess.run(
        [*kubectl, "logs", "talker", "--tail=2"], capture_output=True, text=True, check=True
    ).stdout
    assert tail == "line 3\nline 4\n"
    follow = subprocess.Popen([*kubectl, "logs", "-f", "talker"], stdout=subprocess.PIPE, text=True)
    assert follow.stdout is not None
    assert [follow.stdout.readline() for _ in range(5)] == [f"line {n}\n" for n in range(5)]
    follow.kill()
    follow.wait()
    follow.stdout.close()


def test_a_deleted_pod_gets_its_grace_and_is_replaced(mesh: Mesh) -> None:
    trap = ["sh", "-c", "trap 'sleep 0.4; exit 0' TERM; while true; do sleep 0.1; done"]
    app = deployment("graceful", trap)
    app["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    mesh.apply(app)
    (one,) = mesh.ready("graceful")
    path = f"/api/v1/namespaces/plain/pods/{one['metadata']['name']}"
    begun = time.monotonic()
    mesh.delete(path)
    mesh.wait(lambda: mesh.gone(path), "the pod to go")
    assert 0.4 <= time.monotonic() - begun < 5
    (other,) = mesh.ready("graceful")
    assert other["metadata"]["uid"] != one["metadata"]["uid"]
    assert one["metadata"]["name"].rpartition("-")[0] == other["metadata"]["name"].rpartition("-")[0]


def test_a_pod_that_ignores_sigterm_is_killed(mesh: Mesh) -> None:
    deaf = ["sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"]
    mesh.apply(pod("deaf", {"containers": [{"name": "c", "image": "busybox", "command": deaf}]}))
    mesh.ready("deaf")
    path = "/api/v1/namespaces/plain/pods/deaf"
    mesh.delete(path)
    mesh.wait(lambda: mesh.gone(path), "the pod to go", 5)


def test_scaling_and_a_rolling_update_without_a_gap(mesh: Mesh) -> None:
    mesh.apply(deployment("rolled", SLEEP, replicas=1))
    mesh.ready("rolled", 1)
    path = "/apis/apps/v1/namespaces/plain/deployments/rolled"
    mesh.patch(path, {"spec": {"replicas": 3}})
    before = {one["metadata"]["uid"] for one in mesh.ready("rolled", 3)}
    annotated = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    mesh.patch(path, {"spec": {"template": annotated}})
    fewest = 3

    def rolled() -> bool:
        nonlocal fewest
        pods = mesh.pods("rolled")
        fewest = min(fewest, sum(is_ready(one) for one in pods))
        return (
            len(pods) == 3
            and not before & {one["metadata"]["uid"] for one in pods}
            and all(map(is_ready, pods))
        )

    mesh.wait(rolled, "three new pods")
    assert fewest >= 3  # 25 % of 3 rounds down to none missing
    status = mesh.wait(
        lambda: (
            (s := mesh.get(path)["status"])
            and s["updatedReplicas"] == s["availableReplicas"] == s["replicas"] == 3
            and s
        ),
        "status",
    )
    assert {c["type"]: c["reason"] for c in status["conditions"]}["Progressing"] == "NewReplicaSetAvailable"
    mesh.patch(path, {"spec": {"replicas": 0}})
    mesh.wait(lambda: not mesh.pods("rolled"), "no pods")
    # What pods remember of their gateway holds, whoever comes and goes.
    shown = ["nsenter", "--target", str(mesh.pid), "--net", "ip", "-o", "link", "show", BRIDGE]
    assert BRIDGE_MAC in subprocess.run(shown, capture_output=True, text=True, check=True).stdout


def test_a_deleted_deployment_takes_its_pods(mesh: Mesh) -> None:
    mesh.apply(deployment("leaving", SLEEP, replicas=2))
    mesh.ready("leaving", 2)
    mesh.delete("/apis/apps/v1/namespaces/plain/deployments/leaving")
    mesh.wait(lambda: not mesh.pods("leaving"), "the pods to go")
    known = [one.workload for one in running_mesh.pods(mesh.state)]
    mesh.wait(
        lambda: "leaving" not in [one.workload for one in running_mesh.pods(mesh.state)],
        f"{known} without it",
    )


def test_pods_outlive_the_control_plane(mesh: Mesh) -> None:
    """A control plane that is killed comes back; nothing that runs is touched, and what comes next works."""
    mesh.apply(deployment("user", SLEEP, workingDir="/tmp"))
    (before,) = mesh.ready("user")
    for pid, line in processes():
        if " -m control " in line and str(mesh.state) in line:
            os.kill(pid, signal.SIGKILL)
    assert mesh.exec("plain/user", "echo", "still here") == "still here\n"

    def answers() -> bool:
        try:
            return bool(mesh.get("/api/v1/namespaces/plain"))
        except (ApiFailure, ClickException):
            return False

    mesh.wait(answers, "the API to return")
    mesh.apply(deployment("after", SLEEP))
    mesh.ready("after")
    (after,) = mesh.ready("user")
    assert (after["metadata"]["uid"], after["status"]["containerStatuses"][0]["restartCount"]) == (
        before["metadata"]["uid"],
        0,
    )


def test_status_lists_what_runs(mesh: Mesh) -> None:
    mesh.apply(deployment("user", SLEEP, workingDir="/tmp"))
    (one,) = mesh.ready("user")
    told = mesh.glassmesh("status")
    line = next(line for line in told.splitlines() if one["metadata"]["name"] in line)
    assert line.split()[:5] == ["plain", one["metadata"]["name"], "1/1", "-", "Running"]
    assert "control plane" in told
