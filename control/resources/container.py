"""A container of a Pod: command, environment, ports, probes. Field set and defaults of Kubernetes 1.32, core/v1.

Reference: k8s.io/api/core/v1/types.go, pkg/apis/core/v1/defaults.go, pkg/apis/core/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import model_validator

from control.resources.kind import FieldError
from control.resources.model import (
    INERT,
    AnyObject,
    IntOrString,
    MergeKey,
    Model,
    Quantity,
    duplicate,
    invalid,
    required,
)
from control.resources.names import Dns1123Label, NotNegative, Port, port_name, port_number


class ContainerPort(Model):
    """A port the container listens on."""

    containerPort: Port
    name: str | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    hostPort: Annotated[int | None, INERT] = None
    hostIP: Annotated[str | None, INERT] = None

    def problems(self) -> Iterator[FieldError]:
        problem = port_name(self.name) if self.name else None
        if problem:
            yield invalid("name", self.name, problem)


class KeyRef(Model):
    """A key of a ConfigMap or Secret."""

    name: str = ""
    key: str
    optional: bool | None = None


class ObjectFieldSelector(Model):
    """A field of the Pod."""

    apiVersion: str = "v1"
    fieldPath: str


class ResourceFieldSelector(Model):
    """A resource request or limit of a container."""

    containerName: str | None = None
    resource: str
    divisor: Quantity | None = None


class EnvVarSource(Model):
    """Where the value of an environment variable comes from."""

    fieldRef: ObjectFieldSelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    configMapKeyRef: KeyRef | None = None
    secretKeyRef: KeyRef | None = None


class EnvVar(Model):
    """An environment variable."""

    name: str
    value: str | None = None
    valueFrom: EnvVarSource | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.value and self.valueFrom is not None:
            why = 'Invalid value: "": may not be specified when `value` is not empty'
            yield FieldError("valueFrom", why)
        if not self.name:
            yield required("name")


class NameRef(Model):
    """A ConfigMap or Secret by name."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(Model):
    """A ConfigMap or Secret whose every key becomes an environment variable."""

    prefix: str | None = None
    configMapRef: NameRef | None = None
    secretRef: NameRef | None = None


class HTTPHeader(Model):
    """A header of a probe's request."""

    name: str
    value: str


class HTTPGetAction(Model):
    """An HTTP GET request; 200 to 399 is success."""

    path: str = "/"
    port: IntOrString
    host: str | None = None
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    httpHeaders: list[HTTPHeader] | None = None


class TCPSocketAction(Model):
    """A TCP connection; an open port is success."""

    port: IntOrString
    host: str | None = None


class ExecAction(Model):
    """A command run in the container; exit status 0 is success."""

    command: list[str] | None = None


class GRPCAction(Model):
    """A gRPC health check."""

    port: Port
    service: str = ""


class Handler(Model):
    """What a probe or a lifecycle hook does: exactly one of these."""

    httpGet: HTTPGetAction | None = None
    tcpSocket: TCPSocketAction | None = None
    exec: ExecAction | None = None
    grpc: GRPCAction | None = None
    sleep: AnyObject | None = None

    def problems(self) -> Iterator[FieldError]:
        chosen = [
            name
            for name in ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
            if getattr(self, name) is not None
        ]
        if not chosen:
            yield FieldError("", "Required value: must specify a handler type", "FieldValueRequired")
        for name in chosen[1:]:
            yield FieldError(name, "Forbidden: may not specify more than 1 handler type")


class Probe(Handler):
    """A periodic check of a container."""

    initialDelaySeconds: NotNegative | None = None
    timeoutSeconds: NotNegative = 1
    periodSeconds: NotNegative = 10
    successThreshold: NotNegative = 1
    failureThreshold: NotNegative = 3
    terminationGracePeriodSeconds: int | None = None


class Lifecycle(Model):
    """What runs right after a container starts and right before it is stopped."""

    postStart: Handler | None = None
    preStop: Handler | None = None
    stopSignal: Annotated[str | None, INERT] = None


class ResourceRequirements(Model):
    """CPU and memory a container asks for and may use."""

    requests: dict[str, Quantity] | None = None
    limits: Annotated[dict[str, Quantity] | None, INERT] = None
    claims: list[AnyObject] | None = None


class Capabilities(Model):
    """Linux capabilities added and dropped."""

    add: list[str] | None = None
    drop: list[str] | None = None


class SecurityContext(Model):
    """Privileges of a container."""

    runAsUser: NotNegative | None = None
    runAsGroup: NotNegative | None = None
    runAsNonRoot: bool | None = None
    privileged: bool | None = None
    allowPrivilegeEscalation: bool | None = None
    readOnlyRootFilesystem: bool | None = None
    capabilities: Capabilities | None = None
    procMount: Annotated[str | None, INERT] = None
    seLinuxOptions: Annotated[AnyObject | None, INERT] = None
    seccompProfile: Annotated[AnyObject | None, INERT] = None
    appArmorProfile: Annotated[AnyObject | None, INERT] = None
    windowsOptions: Annotated[AnyObject | None, INERT] = None


class VolumeMount(Model):
    """Where a volume appears in the container."""

    name: str
    mountPath: str
    subPath: str | None = None
    subPathExpr: str | None = None
    readOnly: bool | None = None
    recursiveReadOnly: str | None = None
    mountPropagation: str | None = None


class Container(Model):
    """A container: one process of the Pod, its environment and its probes."""

    name: Dns1123Label
    image: str | None = None
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"] | None = None
    command: list[str] | None = None
    args: list[str] | None = None
    workingDir: str | None = None
    ports: Annotated[list[ContainerPort] | None, MergeKey("containerPort", "protocol")] = None
    env: Annotated[list[EnvVar] | None, MergeKey("name")] = None
    envFrom: list[EnvFromSource] | None = None
    resources: ResourceRequirements = ResourceRequirements()
    resizePolicy: Annotated[list[AnyObject] | None, INERT] = None
    restartPolicy: Literal["Always"] | None = None
    volumeMounts: Annotated[list[VolumeMount] | None, MergeKey("mountPath")] = None
    volumeDevices: Annotated[list[AnyObject] | None, INERT] = None
    livenessProbe: Probe | None = None
    readinessProbe: Probe | None = None
    startupProbe: Probe | None = None
    lifecycle: Lifecycle | None = None
    terminationMessagePath: Annotated[str, INERT] = "/dev/termination-log"
    terminationMessagePolicy: Annotated[Literal["File", "FallbackToLogsOnError"], INERT] = "File"
    securityContext: SecurityContext | None = None
    stdin: bool | None = None
    stdinOnce: bool | None = None
    tty: Annotated[bool | None, INERT] = None

    @model_validator(mode="after")
    def _defaults(self) -> Container:
        if self.image and self.imagePullPolicy is None:
            self.imagePullPolicy = "Always" if _is_latest(self.image) else "IfNotPresent"
        return self

    def problems(self) -> Iterator[FieldError]:
        if not self.image:
            yield required("image")
        names: set[str] = set()
        for index, port in enumerate(self.ports or []):
            if port.name and port.name in names:
                yield duplicate(f"ports[{index}].name", port.name)
            names.add(port.name or "")
        mounts: set[str] = set()
        for index, mount in enumerate(self.volumeMounts or []):
            if mount.mountPath in mounts:
                yield invalid(f"volumeMounts[{index}].mountPath", mount.mountPath, "must be unique")
            mounts.add(mount.mountPath)
        for name in ("livenessProbe", "readinessProbe", "startupProbe"):
            yield from _probe_errors(name, getattr(self, name))


def _is_latest(image: str) -> bool:
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    return "@" not in image and tag in ("", "latest")


def _probe_errors(name: str, probe: Probe | None) -> list[FieldError]:
    if probe is None:
        return []
    errors = []
    if name != "readinessProbe" and probe.successThreshold != 1:
        errors.append(invalid(f"{name}.successThreshold", probe.successThreshold, "must be 1"))
    for kind, action in (("httpGet", probe.httpGet), ("tcpSocket", probe.tcpSocket)):
        problem = port_number(action.port) if action is not None and isinstance(action.port, int) else None
        if problem and action is not None:
            errors.append(invalid(f"{name}.{kind}.port", action.port, problem))
    return errors
