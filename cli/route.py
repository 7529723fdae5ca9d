"""`glassmesh route`: which way a request takes through its client's proxy, and why; no request is sent.

The sidecar's own matcher is asked, on the configuration the control plane has for the workload (see `proxy-status` for whether it
took it), or with `-f` on what manifests would compile to.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml

from cli.client import ApiFailure, Client
from cli.kubeconfig import kubeconfig_option, load
from cli.manifest import BadManifest as BadFile
from cli.manifest import read as read_files
from cli.proxy_tables import resources
from cli.route_text import text
from cli.workloads import named, pod_of
from control.explain.request import Asked, BadRequest, parse
from control.explain.resources import Configuration, compiled, configuration
from control.explain.route import Explanation, Mesh, explain
from control.mesh_config import BadMeshConfig, MeshConfig, load_mesh_config
from control.push import config
from control.push.delegates import merge_delegates
from control.push.manifests import BadManifest, context_of, read
from control.push.proxy import Proxy
from proxy.config.decode import ConfigError


class Asker(NamedTuple):
    """Whose request it is: its proxy, what that proxy is given, and what is known of the mesh."""

    proxy: Proxy
    configuration: Configuration
    mesh: Mesh


@click.command(name="route")
@click.option(
    "--from", "workload", required=True, metavar="WORKLOAD", help="The client: a pod or Deployment."
)
@click.argument("method")
@click.argument("url")
@click.option(
    "-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request."
)
@click.option(
    "-f", "--filename", "files", multiple=True, help="Ask manifests (files or directories), no mesh."
)
@click.option("--mesh-config", type=click.Path(path_type=Path), help="With -f: the MeshConfig, a YAML file.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("-n", "--namespace", help="Namespace of WORKLOAD; default: that of the kubeconfig.")
@kubeconfig_option
def command(
    workload: str,
    method: str,
    url: str,
    headers: tuple[str, ...],
    files: tuple[str, ...],
    mesh_config: Path | None,
    output: str,
    namespace: str | None,
    kubeconfig: Path,
) -> None:
    """Tell which listener, filter chain, virtual host, route, cluster and endpoints a request of WORKLOAD takes.

    WORKLOAD is a pod or Deployment, as NAME, NAME.NAMESPACE or NAMESPACE/NAME. Earlier rules are listed with why they did
    not match. For a gateway, the request is one that reaches it.
    """
    try:
        asked = parse(method.upper(), url, headers)
    except BadRequest as error:
        raise click.UsageError(str(error)) from error
    if files:
        asker = _offline(files, mesh_config, workload, namespace or "default")
    else:
        asker = _running(workload, namespace, kubeconfig)
    found = _explained(asker, asked)
    if output == "json":
        shown: dict[str, Any] = {"workload": f"{asker.proxy.namespace}/{asker.proxy.name}", **asdict(found)}
        click.echo(json.dumps(shown, indent=2))
    else:
        click.echo(text(found, f"{asker.proxy.name}.{asker.proxy.namespace}"))


def _explained(asker: Asker, asked: Asked) -> Explanation:
    try:
        return explain(asker.configuration, asker.mesh, asker.proxy, asked)
    except ConfigError as error:
        raise click.ClickException(f"the proxy would refuse its configuration: {error}") from error


def _offline(files: tuple[str, ...], mesh_config: Path | None, workload: str, namespace: str) -> Asker:
    try:
        mesh = load_mesh_config(mesh_config)
        documents = [document.object for document in read_files(files)]
        context = context_of(read(yaml.safe_dump_all(documents)), mesh)
    except (BadFile, BadManifest, BadMeshConfig) as error:
        raise click.ClickException(str(error)) from error
    name, where = named(workload, namespace)
    pod = pod_of(name, where, (f"{w.name}.{w.namespace}" for w in context.workloads), "workload in the files")
    found = context.by_name[where, pod]
    gateway = any(one.spec.selector for one in context.gateways_for(found.labels))
    proxy = Proxy(
        id=f"{'router' if gateway else 'sidecar'}~{found.ip}~{pod}.{where}~{where}.svc.{mesh.clusterDomain}",
        kind="router" if gateway else "sidecar",
        ip=found.ip,
        name=pod,
        namespace=where,
        labels=found.labels,
        service_account=found.service_account,
        vanilla=False,
        metadata={},
    )
    addresses = {service.hostname: service.address or "" for service in context.services}
    facts = Mesh(addresses, mesh.clusterDomain, context.virtual_services)
    return Asker(proxy, compiled(context, proxy), facts)


def _running(workload: str, namespace: str | None, kubeconfig: Path) -> Asker:
    access = load(kubeconfig)
    client = Client(access)
    name, where = named(workload, namespace or access.namespace)
    try:
        connected: Any = client.get("/debug/syncz")
        proxies = {one["proxy"]: one for one in connected}
        pod = pod_of(name, where, proxies, "connected proxy")
        dump = client.get("/debug/config_dump", {"proxyID": f"{pod}.{where}"})
        labels = client.get(f"/api/v1/namespaces/{where}/pods/{pod}")["metadata"].get("labels") or {}
        registry: Any = client.get("/debug/registryz")
        objects: Any = client.get("/debug/configz")
    except ApiFailure as error:
        raise click.ClickException(str(error)) from error
    proxy = Proxy(
        id=f"{pod}.{where}",
        kind=proxies[f"{pod}.{where}"]["proxy_type"],
        ip="",
        name=pod,
        namespace=where,
        labels=labels,
        service_account="",
        vanilla=False,
        metadata={},
    )
    addresses = {one["hostname"]: "" if one["address"] == "None" else one["address"] for one in registry}
    domain = next(
        (name.partition(".svc.")[2] for name in addresses if ".svc." in name), MeshConfig().clusterDomain
    )
    rules = [config.virtual_service(one, domain) for one in objects if one["kind"] == "VirtualService"]
    kinds = [resources(dump, kind) for kind in ("listeners", "routes", "clusters", "endpoints")]
    return Asker(proxy, configuration(*kinds), Mesh(addresses, domain, tuple(merge_delegates(rules, domain))))
