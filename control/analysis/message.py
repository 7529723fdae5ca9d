"""What an analyzer says: the types of messages with Istio's codes and words, and a message about one object.

Codes that begin with IST are Istio's, those with GM are ours, for what Istio has no code for.
Reference: istio's pkg/config/analysis/msg/messages.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from control.resources.kind import Object


class Level(IntEnum):
    """How bad it is; sorted."""

    Info = 1
    Warning = 2
    Error = 3


@dataclass(frozen=True, slots=True)
class MessageType:
    """`text` is filled with the parameters of a message."""

    code: str
    name: str
    level: Level
    text: str

    def about(self, obj: Object, path: str, *parameters: object) -> Message:
        """A message about `obj`; `path` is the field it is about, empty for the whole."""
        meta = obj.get("metadata") or {}
        return Message(
            self, obj["kind"], meta.get("namespace") or "", meta["name"], path, self.text.format(*parameters)
        )


@dataclass(frozen=True, slots=True)
class Message:
    """Something about one object."""

    type: MessageType
    kind: str
    namespace: str
    name: str
    path: str
    text: str

    @property
    def resource(self) -> str:
        """As istioctl names it: `VirtualService default/reviews`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def line(self, reference: str = "") -> str:
        """One line of `glassmesh analyze`; `reference` is where a manifest says it, as `file.yaml:7`."""
        origin = f"{self.resource} {reference}" if reference else self.resource
        return f"{self.type.level.name} [{self.type.code}] ({origin}) {self.text}"

    def warning(self) -> str:
        """For the client that applied the object: it knows which one, so the path says where."""
        return (
            f"[{self.type.code}] {self.path}: {self.text}" if self.path else f"[{self.type.code}] {self.text}"
        )


def _type(code: str, name: str, level: Level, text: str) -> MessageType:
    return MessageType(code, name, level, text)


_I, _W, _E = Level.Info, Level.Warning, Level.Error

REFERENCED_RESOURCE_NOT_FOUND = _type(
    "IST0101", "ReferencedResourceNotFound", _E, 'Referenced {} not found: "{}"'
)
NAMESPACE_NOT_INJECTED = _type(
    "IST0102",
    "NamespaceNotInjected",
    _I,
    "The namespace is not enabled for Istio injection. Run 'kubectl label namespace {0} istio-injection=enabled' to "
    "enable it, or 'kubectl label namespace {0} istio-injection=disabled' to explicitly mark it as not needing injection.",
)
POD_MISSING_PROXY = _type(
    "IST0103",
    "PodMissingProxy",
    _W,
    "The pod {} is missing the Istio proxy. This can often be resolved by restarting or redeploying the workload.",
)
GATEWAY_PORT_NOT_ON_WORKLOAD = _type(
    "IST0104",
    "GatewayPortNotOnWorkload",
    _W,
    "The gateway refers to a port that is not exposed on the workload (pod selector {}; port {})",
)
SCHEMA_VALIDATION_ERROR = _type("IST0106", "SchemaValidationError", _E, "Schema validation error: {}")
MISPLACED_ANNOTATION = _type(
    "IST0107", "MisplacedAnnotation", _W, "Misplaced annotation: {} can only be applied to {}"
)
UNKNOWN_ANNOTATION = _type("IST0108", "UnknownAnnotation", _W, "Unknown annotation: {}")
CONFLICTING_MESH_HOSTS = _type(
    "IST0109",
    "ConflictingMeshGatewayVirtualServiceHosts",
    _E,
    "The VirtualServices {} associated with mesh gateway define the same host {} which can lead to undefined behavior. "
    "This can be fixed by merging the conflicting VirtualServices into a single resource.",
)
PORT_SELECTOR_REQUIRED = _type(
    "IST0112",
    "VirtualServiceDestinationPortSelectorRequired",
    _E,
    'This VirtualService routes to a service "{}" that exposes multiple ports [{}]. Specifying a port in the '
    "destination is required to disambiguate.",
)
MTLS_POLICY_CONFLICT = _type(
    "IST0113",
    "MTLSPolicyConflict",
    _E,
    'A DestinationRule and Policy are in conflict with regards to mTLS for host {}. The DestinationRule "{}" specifies '
    'that mTLS must be {} but the Policy object "{}" specifies {}.',
)
DEPLOYMENT_PROTOCOL_CONFLICT = _type(
    "IST0116",
    "DeploymentAssociatedToMultipleServices",
    _W,
    "This deployment {} is associated with multiple services using port {} but different protocols: [{}]",
)
PORT_NAME_CONVENTION = _type(
    "IST0118",
    "PortNameIsNotUnderNamingConvention",
    _I,
    "Port name {} (port: {}, targetPort: {}) doesn't follow the naming convention of Istio port.",
)
INVALID_REGEXP = _type("IST0122", "InvalidRegexp", _W, 'Field "{}" regular expression invalid: "{}" ({})')
NO_MATCHING_WORKLOADS = _type(
    "IST0127",
    "NoMatchingWorkloadsFound",
    _W,
    "No matching workloads for this resource with the following labels: {}",
)
NO_SERVER_VERIFICATION = _type(
    "IST0128",
    "NoServerCertificateVerificationDestinationLevel",
    _E,
    "DestinationRule {} in namespace {} has TLS mode set to {} but no caCertificates are set to validate server "
    "identity for host: {}",
)
NO_SERVER_VERIFICATION_AT_PORT = _type(
    "IST0129",
    "NoServerCertificateVerificationPortLevel",
    _W,
    "DestinationRule {} in namespace {} has TLS mode set to {} but no caCertificates are set to validate server "
    "identity for host: {} at port {}",
)
UNREACHABLE_RULE = _type(
    "IST0130", "VirtualServiceUnreachableRule", _W, "VirtualService rule {} not used ({})."
)
INEFFECTIVE_MATCH = _type(
    "IST0131",
    "VirtualServiceIneffectiveMatch",
    _I,
    "VirtualService rule {} match {} is not used (duplicate/overlapping match in rule {}).",
)
HOST_NOT_FOUND_IN_GATEWAY = _type(
    "IST0132",
    "VirtualServiceHostNotFoundInGateway",
    _W,
    "one or more host [{}] defined in VirtualService {} not found in Gateway {}.",
)
SCHEMA_WARNING = _type("IST0133", "SchemaWarning", _W, "Schema validation warning: {}")
DEPLOYMENT_CONFLICTING_PORTS = _type(
    "IST0137",
    "DeploymentConflictingPorts",
    _W,
    'This deployment {} is associated with multiple services [{}] using targetPort "{}" but different ports: [{}].',
)
CONFLICTING_GATEWAYS = _type(
    "IST0145",
    "ConflictingGateways",
    _E,
    "Conflict with gateways {} (workload selector {}, port {}, hosts {}).",
)
SUBSET_SELECTS_NO_PODS = _type(
    "IST0173",
    "DestinationRuleSubsetsNotSelectPods",
    _E,
    "The Subset {} defined in the DestinationRule does not select any pods, which may lead to 503 UH (NoHealthyUpstream).",
)
UNKNOWN_RULE_HOST = _type(
    "IST0174",
    "UnknownDestinationRuleHost",
    _W,
    "The host {} defined in the DestinationRule does not match any services in the mesh.",
)
CONFLICTING_DESTINATION_RULES = _type(
    "GM0101",
    "ConflictingDestinationRules",
    _W,
    "The DestinationRules {} define the same host {}: their subsets are merged, and of their traffic policies only that "
    "of {} is used, the oldest. This can be fixed by merging them into a single resource.",
)
NOT_A_DELEGATE = _type(
    "GM0102",
    "NotADelegate",
    _E,
    'The VirtualService "{}" cannot be delegated to: {}. The rule that delegates to it is dropped.',
)
UNUSED_DELEGATE = _type(
    "GM0103",
    "UnusedDelegate",
    _W,
    "No VirtualService delegates to this one, and it has no hosts of its own: its rules are not used.",
)
DELEGATE_RULE_DROPPED = _type(
    "GM0104",
    "DelegateRuleDropped",
    _W,
    'Rule {} of the delegate "{}" is dropped: a match of it does not lie inside any match of rule {}.',
)

TYPES: tuple[MessageType, ...] = tuple(
    value for value in globals().values() if isinstance(value, MessageType)
)
