"""PodSpec and PodTemplateSpec: what a Pod is made of. Field set and defaults of Kubernetes 1.32, core/v1.

Reference: k8s.io/api/core/v1/types.go, pkg/apis/core/v1/defaults.go, pkg/apis/core/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import model_validator

from control.resources.container import Container, ObjectFieldSelector, ResourceFieldSelector
from control.resources.kind import FieldError
from control.resources.metadata import ObjectMeta
from control.resources.model import (
    INERT,
    AnyObject,
    MergeKey,
    Model,
    Quantity,
    StringMap,
    duplicate,
    required,
)
from control.resources.names import NotNegative


class KeyToPath(Model):
    """A key of a ConfigMap or Secret as a file."""

    key: str
    path: str
    mode: int | None = None


class DownwardFile(Model):
    """A field of the Pod as a file."""

    path: str
    fieldRef: ObjectFieldSelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    mode: int | None = None


class EmptyDirVolume(Model):
    """An empty directory that lives as long as the Pod."""

    medium: str | None = None
    sizeLimit: Quantity | None = None


class ConfigMapVolume(Model):
    """The keys of a ConfigMap as files."""

    name: str | None = None
    items: list[KeyToPath] | None = None
    defaultMode: int = 0o644
    optional: bool | None = None


class SecretVolume(Model):
    """The keys of a Secret as files."""

    secretName: str | None = None
    items: list[KeyToPath] | None = None
    defaultMode: int = 0o644
    optional: bool | None = None


class DownwardVolume(Model):
    """Fields of the Pod as files."""

    items: list[DownwardFile] | None = None
    defaultMode: int = 0o644


class TokenProjection(Model):
    """A service account token as a file, renewed before it expires."""

    audience: str | None = None
    expirationSeconds: int = 3600
    path: str


class NamedProjection(Model):
    """A ConfigMap or Secret inside a projected volume."""

    name: str | None = None
    items: list[KeyToPath] | None = None
    optional: bool | None = None


class DownwardProjection(Model):
    """Fields of the Pod inside a projected volume."""

    items: list[DownwardFile] | None = None


class VolumeProjection(Model):
    """One source of a projected volume."""

    serviceAccountToken: TokenProjection | None = None
    configMap: NamedProjection | None = None
    secret: NamedProjection | None = None
    downwardAPI: DownwardProjection | None = None
    clusterTrustBundle: Annotated[AnyObject | None, INERT] = None


class ProjectedVolume(Model):
    """Several sources in one directory."""

    sources: list[VolumeProjection] | None = None
    defaultMode: int = 0o644


class HostPathVolume(Model):
    """A path of the host."""

    path: str
    type: str = ""


class Volume(Model):
    """A directory that containers of the Pod may mount."""

    name: str
    emptyDir: EmptyDirVolume | None = None
    configMap: ConfigMapVolume | None = None
    secret: SecretVolume | None = None
    downwardAPI: DownwardVolume | None = None
    projected: ProjectedVolume | None = None
    hostPath: HostPathVolume | None = None
    persistentVolumeClaim: Annotated[AnyObject | None, INERT] = None
    csi: Annotated[AnyObject | None, INERT] = None
    nfs: Annotated[AnyObject | None, INERT] = None
    iscsi: Annotated[AnyObject | None, INERT] = None
    ephemeral: Annotated[AnyObject | None, INERT] = None
    image: Annotated[AnyObject | None, INERT] = None

    @model_validator(mode="after")
    def _empty_dir(self) -> Volume:
        if self.model_dump(exclude_none=True).keys() == {"name"}:
            self.emptyDir = EmptyDirVolume()
        return self


class Sysctl(Model):
    """A kernel parameter of the Pod's namespaces."""

    name: str
    value: str


class PodSecurityContext(Model):
    """Privileges of all containers of the Pod, unless a container says otherwise."""

    runAsUser: NotNegative | None = None
    runAsGroup: NotNegative | None = None
    runAsNonRoot: bool | None = None
    fsGroup: NotNegative | None = None
    fsGroupChangePolicy: str | None = None
    supplementalGroups: list[int] | None = None
    supplementalGroupsPolicy: str | None = None
    sysctls: Annotated[list[Sysctl] | None, INERT] = None
    seLinuxOptions: Annotated[AnyObject | None, INERT] = None
    seLinuxChangePolicy: Annotated[str | None, INERT] = None
    seccompProfile: Annotated[AnyObject | None, INERT] = None
    appArmorProfile: Annotated[AnyObject | None, INERT] = None
    windowsOptions: Annotated[AnyObject | None, INERT] = None


class LocalReference(Model):
    """An object of the same namespace."""

    name: str = ""


class HostAlias(Model):
    """A line of /etc/hosts."""

    ip: str
    hostnames: list[str] | None = None


class PodSpec(Model):
    """What a Pod runs."""

    containers: Annotated[list[Container], MergeKey("name")]
    initContainers: Annotated[list[Container] | None, MergeKey("name")] = None
    ephemeralContainers: Annotated[list[AnyObject] | None, MergeKey("name"), INERT] = None
    volumes: Annotated[list[Volume] | None, MergeKey("name")] = None
    restartPolicy: Literal["Always", "OnFailure", "Never"] = "Always"
    terminationGracePeriodSeconds: NotNegative = 30
    activeDeadlineSeconds: Annotated[int | None, INERT] = None
    dnsPolicy: Annotated[Literal["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"], INERT] = (
        "ClusterFirst"
    )
    dnsConfig: AnyObject | None = None
    nodeName: str | None = None
    nodeSelector: Annotated[StringMap | None, INERT] = None
    serviceAccountName: str | None = None
    serviceAccount: str | None = None
    automountServiceAccountToken: bool | None = None
    hostNetwork: bool | None = None
    hostPID: Annotated[bool | None, INERT] = None
    hostIPC: Annotated[bool | None, INERT] = None
    hostUsers: Annotated[bool | None, INERT] = None
    shareProcessNamespace: Annotated[bool | None, INERT] = None
    securityContext: PodSecurityContext = PodSecurityContext()
    imagePullSecrets: Annotated[list[LocalReference] | None, MergeKey("name")] = None
    hostname: str | None = None
    subdomain: Annotated[str | None, INERT] = None
    setHostnameAsFQDN: Annotated[bool | None, INERT] = None
    hostAliases: Annotated[list[HostAlias] | None, MergeKey("ip")] = None
    affinity: Annotated[AnyObject | None, INERT] = None
    tolerations: Annotated[list[AnyObject] | None, INERT] = None
    topologySpreadConstraints: Annotated[list[AnyObject] | None, INERT] = None
    schedulerName: str = "default-scheduler"
    schedulingGates: Annotated[list[AnyObject] | None, INERT] = None
    priorityClassName: Annotated[str | None, INERT] = None
    priority: Annotated[int | None, INERT] = None
    preemptionPolicy: Annotated[str | None, INERT] = None
    readinessGates: Annotated[list[AnyObject] | None, INERT] = None
    runtimeClassName: Annotated[str | None, INERT] = None
    enableServiceLinks: bool | None = None
    overhead: Annotated[AnyObject | None, INERT] = None
    os: Annotated[AnyObject | None, INERT] = None
    resourceClaims: Annotated[list[AnyObject] | None, INERT] = None
    resources: Annotated[AnyObject | None, INERT] = None

    @model_validator(mode="after")
    def _one_account(self) -> PodSpec:
        # The two names are one field with two spellings; the older is kept for old clients.
        self.serviceAccountName = self.serviceAccountName or self.serviceAccount
        self.serviceAccount = self.serviceAccountName
        return self

    def problems(self) -> Iterator[FieldError]:
        if not self.containers:
            yield required("containers")
        volumes = {volume.name for volume in self.volumes or []}
        names: set[str] = set()
        for field, containers in (("initContainers", self.initContainers), ("containers", self.containers)):
            for index, container in enumerate(containers or []):
                if container.name in names:
                    yield duplicate(f"{field}[{index}].name", container.name)
                names.add(container.name)
                yield from _missing_volumes(f"{field}[{index}]", container, volumes)


def _missing_volumes(path: str, container: Container, volumes: set[str]) -> list[FieldError]:
    return [
        FieldError(f"{path}.volumeMounts[{index}].name", f'Not found: "{mount.name}"', "FieldValueNotFound")
        for index, mount in enumerate(container.volumeMounts or [])
        if mount.name not in volumes
    ]


class PodTemplateSpec(Model):
    """The Pods a controller makes."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec
