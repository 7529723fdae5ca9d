"""How a cluster picks endpoints: the policy and its numbers, panic, and whether localities have weights.

Reference: istio's pilot/pkg/networking/core/cluster_traffic_policy.go (applyLoadBalancer, ApplyRingHashLoadBalancer, setSlowStartConfig).
"""

from __future__ import annotations

from control.compile.locality import TRAFFIC_DISTRIBUTIONS, Client, Preference
from control.compile.protobuf import Message, duration
from control.compile.traffic_policy import Policy
from control.mesh_config import MeshConfig
from control.registry.service import Service
from control.resources.istio_types import parse_duration
from control.resources.load_balancer import (
    ConsistentHash,
    LoadBalancer,
    LocalityLoadBalancerSetting,
    WarmupConfiguration,
)

_DEFAULT_RING_SIZE = 1024
_MIN_WARMUP_PERCENT = 10
# Envoy asks for the name of a runtime setting that may override the number; nobody sets it.
_AGGRESSION_KEY = "upstream.slow_start.aggression"


def balancing_fields(policy: Policy, setting: LocalityLoadBalancerSetting | None) -> Message:
    """`setting` is the locality setting in force, None: none."""
    # Unready endpoints are left out, so a panicking cluster would send to those that outlier detection has found bad.
    percent = policy.outlier.minHealthPercent if policy.outlier is not None else 0
    common: Message = {"healthy_panic_threshold": {"value": percent or 0}}
    if setting is not None:
        common["locality_weighted_lb_config"] = {}
    return {**_policy(policy.load_balancer or LoadBalancer()), "common_lb_config": common}


def _policy(settings: LoadBalancer) -> Message:
    if settings.consistentHash is not None:
        return _hashing(settings.consistentHash)
    if settings.simple == "RANDOM":
        return {"lb_policy": "RANDOM"}
    name = "ROUND_ROBIN" if settings.simple == "ROUND_ROBIN" else "LEAST_REQUEST"
    slow_start = _slow_start(settings)
    if not slow_start:
        return {"lb_policy": name}
    return {"lb_policy": name, f"{name.lower()}_lb_config": {"slow_start_config": slow_start}}


def _hashing(settings: ConsistentHash) -> Message:
    if settings.maglev is not None:
        size = settings.maglev.tableSize
        fields: Message = {"maglev_lb_config": {"table_size": size}} if size else {}
        return {"lb_policy": "MAGLEV", **fields}
    if settings.ringHash is not None:
        size = settings.ringHash.minimumRingSize
        fields = {"ring_hash_lb_config": {"minimum_ring_size": size}} if size else {}
        return {"lb_policy": "RING_HASH", **fields}
    size = settings.minimumRingSize or _DEFAULT_RING_SIZE
    return {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": size}}


def _slow_start(settings: LoadBalancer) -> Message:
    warmup = settings.warmup
    if warmup is None and settings.warmupDurationSecs and parse_duration(settings.warmupDurationSecs):
        warmup = WarmupConfiguration(duration=settings.warmupDurationSecs)
    if warmup is None:
        return {}
    percent = _MIN_WARMUP_PERCENT if warmup.minimumPercent is None else warmup.minimumPercent
    aggression = 1 if warmup.aggression is None else warmup.aggression
    return {
        "slow_start_window": duration(warmup.duration),
        "aggression": {"default_value": aggression, "runtime_key": _AGGRESSION_KEY},
        "min_weight_percent": {"value": percent},
    }


def locality_setting(
    mesh: MeshConfig, service: Service, policy: Policy
) -> tuple[LocalityLoadBalancerSetting | None, bool]:
    """What is preferred, and whether that may fail over without outlier detection: the DestinationRule's, the Service's, the mesh's."""
    own = policy.load_balancer.localityLbSetting if policy.load_balancer is not None else None
    if own is not None:
        return (own if own.enabled is not False else None), False
    labels = TRAFFIC_DISTRIBUTIONS.get(service.traffic_distribution)
    if labels is not None:
        return LocalityLoadBalancerSetting(failoverPriority=list(labels)), True
    return (mesh.localityLbSetting if mesh.localityLbSetting.enabled is not False else None), False


def preference(mesh: MeshConfig, service: Service, policy: Policy, client: Client) -> Preference | None:
    """What this client prefers among the endpoints of the service; None: nothing."""
    setting, always = locality_setting(mesh, service, policy)
    if setting is None:
        return None
    return Preference(client.locality, client.labels, setting, failover=always or policy.outlier is not None)
