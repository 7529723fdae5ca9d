"""`glassmesh up`: the mesh on this machine, from nothing to ready; in the foreground it ends with Ctrl-C.

Tells what it does, one line a step. Ends what it started when anything fails on the way.
"""

from __future__ import annotations

import importlib.resources
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from cli.client import APPLY, ApiFailure, Client, Object
from cli.kubeconfig import load
from cli.manifest import BadManifest, Document, read
from cli.state import state_option
from node import running_mesh, start, teardown
from node.launch import CannotLaunch
from node.namespaces import become_subreaper
from node.restart import BASE_SECONDS
from node.run_state import RunState

API_SECONDS = 30.0
READY_SECONDS = 60.0
POLL_SECONDS = 0.05
MERGE_PATCH = "application/merge-patch+json"
INJECTION_LABEL = "istio-injection"
MESH_CONFIG = "GLASSMESH_MESH_CONFIG"  # the control plane reads it


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal."""


@click.command()
@click.option(
    "-f", "--filename", "filenames", multiple=True, help="Manifest, directory, or - for standard input."
)
@click.option("-d", "--detach", is_flag=True, help="Return when the mesh is ready; `glassmesh down` ends it.")
@state_option()
@click.option(
    "--gateway-port",
    type=click.IntRange(0, 65535),
    help="Host port of the ingress gateway; default: 8080, or a free one.",
)
@click.option(
    "--back-off",
    type=click.FloatRange(min=0),
    default=BASE_SECONDS,
    show_default=True,
    help="First pause before a container that crashed is started again, in seconds.",
)
@click.option(
    "--mesh-config",
    envvar=MESH_CONFIG,
    type=click.Path(path_type=Path),
    help=f"The MeshConfig, a YAML file; default: what {MESH_CONFIG} names.",
)
def command(
    filenames: tuple[str, ...],
    detach: bool,
    state: Path,
    gateway_port: int | None,
    back_off: float,
    mesh_config: Path | None,
) -> None:
    """Start a mesh on this machine and apply the manifests given."""
    state = state.absolute()
    _pass_on(mesh_config)
    try:
        documents = list(read(filenames))
    except BadManifest as error:
        raise click.ClickException(str(error)) from None
    begun = time.monotonic()
    if not detach:
        become_subreaper()  # pid 1 of the mesh stays our child
    try:
        run = start.start(start.Wish(state, gateway_port, detach, back_off))
    except CannotLaunch as error:
        raise click.ClickException(str(error)) from None
    running = teardown.handle(run)
    if running is None:
        raise click.ClickException(_why_it_ended(state))
    try:
        with _interruptible():
            _bring_up(state, run, running, documents, begun)
            _summary(state, run, gateway_port)
            if detach:
                return
            click.echo("Ctrl-C ends the mesh.")
            running.wait(None)
        raise click.ClickException(_why_it_ended(state))
    except Interrupted:
        _take_down(state, running)
    except click.ClickException:
        _take_down(state, running)
        raise


def _pass_on(mesh_config: Path | None) -> None:
    """The control plane finds the file by the environment, from another directory. Raises ClickException."""
    if mesh_config is None:
        return
    # The control plane's models are slow to import.
    from control.mesh_config import BadMeshConfig, load_mesh_config

    try:
        load_mesh_config(mesh_config)
    except BadMeshConfig as error:
        raise click.ClickException(str(error)) from None
    os.environ[MESH_CONFIG] = str(mesh_config.absolute())


def _bring_up(
    state: Path, run: RunState, running: teardown.Handle, documents: list[Document], begun: float
) -> None:
    """From a started pid 1 to a mesh that answers."""
    client = _api(state, running)
    _say(begun, f"control plane ready, API on 127.0.0.1:{run.api_port}")
    first_time = _is_new(client)
    mesh = importlib.resources.files("demo_apps") / "manifests" / "ingress-gateway.yaml"
    with importlib.resources.as_file(mesh) as path:
        _apply(client, list(read((str(path),))))
    if first_time:
        body = {"metadata": {"labels": {INJECTION_LABEL: "enabled"}}}
        client.request("PATCH", "/api/v1/namespaces/default", body=body, content_type=MERGE_PATCH)
        _say(begun, f"namespace default labelled {INJECTION_LABEL}=enabled: its pods get sidecars")
    if documents:
        _apply(client, documents)
        _say(begun, f"{len(documents)} objects applied")
    _wait_for_pods(state, client, running, begun)


def _api(state: Path, running: teardown.Handle) -> Client:
    """The API, once it answers. Raises ClickException."""
    deadline = time.monotonic() + API_SECONDS
    kubeconfig = state / "kubeconfig"
    while time.monotonic() < deadline:
        if running.wait(0):
            raise click.ClickException(_why_it_ended(state))
        if kubeconfig.exists():
            client = Client(load(kubeconfig))
            try:
                client.get("/api/v1/namespaces/default")
            except (click.ClickException, ApiFailure):
                pass  # it is on its way
            else:
                return client
        time.sleep(POLL_SECONDS)
    raise click.ClickException(
        f"the API did not answer within {API_SECONDS:g} s; see {state}/logs/control.log"
    )


def _is_new(client: Client) -> bool:
    """Whether this state directory has never held a mesh."""
    try:
        client.get("/apis/apps/v1/namespaces/istio-system/deployments/istio-ingressgateway")
    except ApiFailure as error:
        return error.reason == "NotFound"
    return False


def _apply(client: Client, documents: list[Document]) -> None:
    """Server-side apply, in order. Raises ClickException with every refusal."""
    refused: list[str] = []
    for document in documents:
        try:
            _apply_one(client, document.object)
        except ApiFailure as error:
            refused += [f"{document.where}: {line}" for line in error.lines()]
    if refused:
        raise click.ClickException("\n".join(refused))


def _apply_one(client: Client, obj: Object) -> None:
    resource = client.of_object(obj)
    metadata = obj.get("metadata") or {}
    if resource is None:
        raise click.ClickException(
            f'no matches for kind "{obj.get("kind")}" in version "{obj.get("apiVersion")}"'
        )
    path = resource.path(metadata.get("namespace") or "default", metadata.get("name"))
    query = {"fieldManager": "glassmesh", "force": "true", "fieldValidation": "Strict"}
    client.request("PATCH", path, query, obj, content_type=APPLY)


def _wait_for_pods(state: Path, client: Client, running: teardown.Handle, begun: float) -> None:
    """Until every Deployment is available; after READY_SECONDS says which is not and goes on."""
    deadline = time.monotonic() + READY_SECONDS
    told = -1
    while True:
        deployments = client.get("/apis/apps/v1/deployments")["items"]
        up = Counter((pod.namespace, pod.workload) for pod in running_mesh.pods(state) if pod.ready)
        waiting = [each for each in deployments if not _is_available(each, up)]
        ready = len(deployments) - len(waiting)
        if ready != told:
            _progress(f"{ready}/{len(deployments)} workloads ready", done=not waiting, begun=begun)
            told = ready
        if not waiting:
            return
        if running.wait(0):
            raise click.ClickException("the mesh ended while it started")
        if time.monotonic() > deadline:
            names = ", ".join(f"{d['metadata']['namespace']}/{d['metadata']['name']}" for d in waiting)
            click.secho(
                f"\nnot ready after {READY_SECONDS:g} s: {names}; see `glassmesh status`",
                fg="yellow",
                err=True,
            )
            return
        time.sleep(POLL_SECONDS)


def _is_available(deployment: Object, up: Counter[tuple[str, str]]) -> bool:
    """Both the API and the node say so: a status in the store may be the last mesh's."""
    metadata, status, wanted = (
        deployment["metadata"],
        deployment.get("status") or {},
        deployment["spec"]["replicas"],
    )
    if status.get("observedGeneration", 0) < metadata.get("generation", 1):
        return False
    counts = (status.get("updatedReplicas", 0), status.get("availableReplicas", 0))
    return bool(min(*counts, up[metadata["namespace"], metadata["name"]]) >= wanted)


def _say(begun: float, text: str) -> None:
    click.echo(f"{click.style(f'{time.monotonic() - begun:5.1f} s', dim=True)}  {text}")


def _progress(text: str, done: bool, begun: float) -> None:
    """One line that is rewritten on a terminal, and told once elsewhere."""
    if done:
        click.echo("\r", nl=False) if sys.stdout.isatty() else None
        _say(begun, text)
    elif sys.stdout.isatty():
        click.echo(f"\r{time.monotonic() - begun:5.1f} s  {text} …", nl=False)


def _summary(state: Path, run: RunState, asked: int | None) -> None:
    """Where the mesh is, and what to do with it. `asked` is the gateway's port that the user wanted."""
    shown = "" if state == running_mesh.DEFAULT_STATE.absolute() else f" --state {state}"
    click.secho(f"mesh ready, gateway on {gateway(run.gateway_port, asked)}", bold=True)
    click.echo(f"  glassmesh status{shown}")
    click.echo(f"  kubectl --kubeconfig {state}/kubeconfig get pods -A")
    click.echo(f"  glassmesh exec{shown} WORKLOAD -- CMD")
    if run.detached:
        click.echo(f"  glassmesh down{shown}")


def gateway(port: int, asked: int | None) -> str:
    """Where the gateway is; and why not at the port where one looks for it, unless another was `asked` for."""
    wanted = start.DEFAULT_GATEWAY_PORT
    return f"http://127.0.0.1:{port}" + (f" ({wanted} is taken)" if asked is None and port != wanted else "")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Signals that ask us to end become Interrupted."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise Interrupted

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _take_down(state: Path, running: teardown.Handle) -> None:
    """Ends the mesh in order; a second Ctrl-C kills it."""
    click.echo("\nending the mesh …", err=True)
    try:
        with _interruptible():
            teardown.end(running)
    except Interrupted:
        running.signal(signal.SIGKILL)
        running.wait(teardown.KILL_SECONDS)
    except teardown.CannotEnd as error:
        raise click.ClickException(str(error)) from None
    finally:
        running.close()
    teardown.forget(state)


def _why_it_ended(state: Path) -> str:
    lines = (
        start.node_log(state).read_text(errors="replace").splitlines()
        if start.node_log(state).exists()
        else []
    )
    last = lines[-1] if lines else "it wrote nothing"
    return f"the mesh ended by itself: {last} (all of it in {start.node_log(state)})"
