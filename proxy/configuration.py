"""What this sidecar is configured with now: bootstrap and the snapshot accepted last.

Takes resources as the xDS clients deliver them, decodes and applies them whole, and keeps what `/config_dump` shows. A
snapshot that cannot be used raises and changes nothing. Part of the composition root.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from proxy import clock
from proxy.admin.clusters import DEFAULT_LIMITS, ClusterStatus
from proxy.admin.config_dump import Sources
from proxy.admin.host_status import of_host
from proxy.bootstrap import Bootstrap
from proxy.config.cluster import Cluster, Thresholds
from proxy.config.decode import CLUSTER, LISTENER, SECRET, ConfigError, decode
from proxy.config.listener import Listener
from proxy.config.secret import Secret
from proxy.config.snapshot import Raws, Snapshot, Steps, build_steps, finish
from proxy.data_plane import DataPlane, Prepared
from proxy.observability import logging
from proxy.tls.secrets import CertificateSecret, SecretError, SecretStore, ValidationSecret
from proxy.xds.resources import EMPTY, Resources

log = logging.logger("config")


@dataclass(frozen=True, slots=True)
class PreparedConfiguration:
    """Resources that can be used, and what was built from them."""

    resources: Resources
    secrets: list[CertificateSecret | ValidationSecret]
    data_plane: Prepared


class Configuration:
    """Applies snapshots to the data plane. `bind_errors` are the addresses that could not be listened on."""

    def __init__(self, bootstrap: Bootstrap, data_plane: DataPlane, secrets: SecretStore) -> None:
        self._bootstrap, self._data_plane, self._secrets = bootstrap, data_plane, secrets
        self._started = clock.wall()
        self._static_listeners: dict[str, Listener] = _static(LISTENER, bootstrap.static_listeners)
        self._static_clusters: dict[str, Cluster] = _static(CLUSTER, bootstrap.static_clusters)
        for name, secret in _static(SECRET, bootstrap.static_secrets).items():
            secrets.put(_checked(secrets, name, secret, ""))
        self._snapshot = Snapshot()
        self._resources: Resources = EMPTY
        self._refused: tuple[str, str, float] | None = None
        self.bind_errors: list[str] = []

    def apply(self, resources: Resources, version: str) -> None:
        """Make a snapshot current. Raises `ValueError` with every reason, in one line."""
        finish(self.apply_steps(resources, version))

    def prepare_steps(self, resources: Resources, version: str) -> Steps[PreparedConfiguration]:
        """Check and build a snapshot without using it, with pauses for requests. Raises `ValueError` with every reason, in one line."""
        with self._refusals(version):
            snapshot = yield from build_steps(version, self._raws(resources), self._snapshot)
            secrets = [
                _checked(self._secrets, name, secret, version)
                for name, secret in snapshot.secrets.items()
                if self._snapshot.secrets.get(name) is not secret
            ]
            data_plane = yield from self._data_plane.prepare_steps(
                snapshot, self._static_listeners, self._static_clusters
            )
        return PreparedConfiguration(resources, secrets, data_plane)

    def apply_steps(self, resources: Resources, version: str) -> Steps[None]:
        """`apply` with pauses for requests; nothing else may be applied meanwhile. What is new is made current at once, at the end."""
        prepared = yield from self.prepare_steps(resources, version)
        self.commit(prepared)

    def _raws(self, resources: Resources) -> Raws:
        """The JSON of each resource; a type of which nothing changed stays the mapping it is."""
        before, known = self._resources, self._snapshot.raw
        return {
            type_url: known[type_url]
            if found is before.get(type_url) and type_url in known
            else {name: resource.raw for name, resource in found.items()}
            for type_url, found in resources.items()
        }

    @contextmanager
    def _refusals(self, version: str) -> Iterator[None]:
        """What is raised inside refuses this version, as a `ValueError`."""
        try:
            yield
        except ValueError as error:
            self.refused(version, str(error))
            raise
        except Exception as error:  # a fault of ours must not end a sidecar that serves
            log.exception("configuration %s", version)
            self.refused(version, f"internal error: {error!r}")
            raise ConfigError(f"internal error: {error!r}") from error

    def refused(self, version: str, reason: str) -> None:
        """Remember for `/config_dump` why a snapshot was not taken."""
        self._refused = version, reason, clock.wall()

    def commit(self, prepared: PreparedConfiguration) -> None:
        """Make current what was prepared last."""
        with self._refusals(prepared.data_plane.snapshot.version):
            for secret in prepared.secrets:
                self._secrets.put(secret)
            errors = self._data_plane.commit(prepared.data_plane)
        for error in errors:
            log.error("%s", error)
        self.bind_errors = errors
        first = self._resources is EMPTY
        self._snapshot, self._resources = prepared.data_plane.snapshot, prepared.resources
        self._refused = None
        if first:
            # Configuration lives as long as the process: the collector need not walk it again.
            gc.collect()
            gc.freeze()

    @property
    def resources(self) -> Resources:
        """Those in force, without the bootstrap's own."""
        return self._resources

    @property
    def version(self) -> str:
        return self._snapshot.version

    def sources(self) -> Sources:
        """Everything `/config_dump` shows."""
        start = self._bootstrap
        clusters = start.raw.get("static_resources", {}).get("clusters", ())
        return Sources(
            bootstrap=start.raw,
            static={LISTENER: start.static_listeners, CLUSTER: tuple(clusters)},
            started=self._started,
            resources=self._resources,
            version=self._snapshot.version,
            secrets=self._secrets,
            refused=self._refused,
        )

    def cluster_statuses(self) -> list[ClusterStatus]:
        """Everything `/clusters` shows."""
        static, dynamic = self._static_clusters, self._snapshot.clusters
        return [
            _status(name, static.get(name) or dynamic[name], name not in static, self._data_plane)
            for name in sorted(self._data_plane.clusters.names)
            if name in static or name in dynamic
        ]


def _static(type_url: str, resources: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    found = {}
    for resource in resources:
        name = str(resource.get("name", ""))
        found[name] = decode(type_url, name, msgspec.json.encode({"@type": type_url, **resource}))
    return found


def _checked(
    secrets: SecretStore, name: str, secret: Secret, version: str
) -> CertificateSecret | ValidationSecret:
    """A secret that can be used. Raises SecretError."""
    try:
        if secret.tls_certificate is not None:
            pair = secret.tls_certificate
            chain, key = pair.certificate_chain.read().decode(), pair.private_key.read().decode()
            return secrets.checked_certificate(name, chain, key, version)
        if secret.validation_context is not None and secret.validation_context.trusted_ca is not None:
            roots = secret.validation_context.trusted_ca.read().decode()
            return secrets.checked_validation(name, roots, version)
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"secret {name}: {error}") from error
    raise SecretError(f"secret {name}: neither a certificate nor roots")


def _status(name: str, definition: Cluster, dynamic: bool, data_plane: DataPlane) -> ClusterStatus:
    thresholds = definition.circuit_breakers.thresholds if definition.circuit_breakers else []
    limits = {threshold.priority: _limits(threshold) for threshold in thresholds}
    eds = definition.eds_cluster_config
    hosts, outlier = data_plane.clusters.look(name)
    return ClusterStatus(
        name=name,
        added_via_api=dynamic,
        eds_service_name=eds.service_name if eds else None,
        default_limits=limits.get("DEFAULT", DEFAULT_LIMITS),
        high_limits=limits.get("HIGH", DEFAULT_LIMITS),
        hosts=[of_host(host) for host in hosts],
        outlier=outlier,
    )


def _limits(given: Thresholds) -> tuple[int, int, int, int]:
    return given.max_connections, given.max_pending_requests, given.max_requests, given.max_retries
