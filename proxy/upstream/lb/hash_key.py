"""What of a host is hashed: its own key where its metadata has one, else its address.

Reference: Envoy load_balancing_policies/common/thread_aware_lb_impl.h (hashKey); metadata `envoy.lb`, `hash_key`.
"""

from __future__ import annotations

from proxy.upstream.host import Host


def hash_key(host: Host) -> bytes:
    key = host.metadata.get("envoy.lb", {}).get("hash_key")
    return (key if isinstance(key, str) and key else host.name).encode()
