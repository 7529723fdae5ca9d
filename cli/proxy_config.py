"""`glassmesh proxy-config`: what a proxy is configured with, in istioctl's tables.

Listeners, routes, clusters and endpoints are what the control plane has for the proxy; `glassmesh proxy-status` tells whether it took
them. Secrets only the proxy has, so those (and, with `--live`, everything) are asked of its admin, from inside its pod.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from cryptography import x509

from cli.client import ApiFailure, Client
from cli.columns import print_table
from cli.kubeconfig import kubeconfig_option, load
from cli.proxy_tables import HEADINGS, Object, Rows, failed_outlier_check, resources, table
from cli.workloads import named, pod_of

_KINDS = ("listeners", "routes", "clusters", "endpoints")
_FETCH = (
    "import sys,urllib.request;"
    "sys.stdout.write(urllib.request.urlopen('http://127.0.0.1:15000'+sys.argv[1]).read().decode())"
)
_DUMP, _CLUSTERS = "/config_dump?include_eds", "/clusters?format=json"


def _aliases(word: str) -> str:
    return word if word.endswith("s") else f"{word}s"


@click.command(name="proxy-config")
@click.argument(
    "kind",
    metavar="KIND",
    type=click.Choice([*_KINDS, "secrets", "all", *(k[:-1] for k in _KINDS), "secret"]),
)
@click.argument("workload")
@click.option("-o", "--output", type=click.Choice(["short", "json"]), default="short", show_default=True)
@click.option("-n", "--namespace", help="Namespace of WORKLOAD; default: that of the kubeconfig.")
@click.option("--live", is_flag=True, help="Ask the proxy itself, inside its pod, not the control plane.")
@kubeconfig_option
def command(
    kind: str, workload: str, output: str, namespace: str | None, live: bool, kubeconfig: Path
) -> None:
    """Print KIND of the configuration of WORKLOAD: a pod or Deployment, as NAME, NAME.NAMESPACE or NAMESPACE/NAME.

    KIND is listeners, routes, clusters, endpoints, secrets or all.
    """
    kind = kind if kind == "all" else _aliases(kind)
    access = load(kubeconfig)
    pod, where = named(workload, namespace or access.namespace)
    client = Client(access)
    pod = _pod(client, pod, where)
    asked = [*_KINDS, "secrets"] if kind == "all" else [kind]
    state = kubeconfig.parent
    dump = _live(pod, where, state, _DUMP) if live or kind == "secrets" else _sent(client, pod, where)
    if output == "json":
        shown: Any = dump if kind == "all" else resources(dump, kind)
        click.echo(json.dumps(shown, indent=2))
        return
    failed = (
        failed_outlier_check(_live(pod, where, state, _CLUSTERS)) if live and "endpoints" in asked else None
    )
    for index, one in enumerate(asked):
        source = _live(pod, where, state, _DUMP) if one == "secrets" and not live else dump
        found = resources(source, one)
        rows = _secret_rows(found) if one == "secrets" else table(one, found, failed)
        if index:
            click.echo()
        print_table(HEADINGS[one], rows)


def _pod(client: Client, name: str, namespace: str) -> str:
    """The connected pod of that name, else the first of a Deployment of that name."""
    try:
        connected = {str(one["proxy"]) for one in client.get("/debug/syncz")}  # type: ignore[index]
    except ApiFailure as error:
        raise click.ClickException(str(error)) from error
    return pod_of(name, namespace, connected, "connected proxy")


def _sent(client: Client, pod: str, namespace: str) -> Object:
    try:
        return client.get("/debug/config_dump", {"proxyID": f"{pod}.{namespace}"})
    except ApiFailure as error:
        raise click.ClickException(str(error)) from error


def _live(pod: str, namespace: str, state: Path, page: str) -> Object:
    """A page of the proxy's admin, asked from inside the pod."""
    run = [sys.executable, "-c", "from cli.main import main; main()", "exec", "--root", "--state", str(state)]
    command_line = [*run, f"{namespace}/{pod}", "--", sys.executable, "-c", _FETCH, page]
    done = subprocess.run(command_line, capture_output=True, check=False)
    if done.returncode:
        why = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise click.ClickException(f"cannot ask the proxy of {namespace}/{pod}: {why}")
    answer: Object = json.loads(done.stdout)
    return answer


def _secret_rows(found: list[Object]) -> Rows:
    rows = []
    for entry in found:
        secret = entry.get("secret") or {}
        certificate = secret.get("tls_certificate") or {}
        chain = (certificate.get("certificate_chain") or {}) or (
            (secret.get("validation_context") or {}).get("trusted_ca") or {}
        )
        kind = "Cert Chain" if certificate else "CA"
        rows.append([entry.get("name") or secret.get("name", ""), kind, "ACTIVE", *_certificate(chain)])
    return sorted(rows)


def _certificate(chain: Object) -> list[str]:
    inline = chain.get("inline_string")
    pem = inline.encode() if inline else base64.b64decode(chain.get("inline_bytes", ""))
    try:
        leaf = x509.load_pem_x509_certificates(pem)[0]
    except ValueError:
        return ["false", "-", "-", "-"]
    valid = leaf.not_valid_before_utc <= datetime.now(UTC) < leaf.not_valid_after_utc
    times = (leaf.not_valid_after_utc, leaf.not_valid_before_utc)
    return [str(valid).lower(), f"{leaf.serial_number:x}", *(t.strftime("%Y-%m-%dT%H:%M:%SZ") for t in times)]
