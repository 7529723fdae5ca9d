"""The Envoy bootstrap file that both `envoy -c FILE` and `python -m proxy -c FILE` start from."""

from __future__ import annotations

from typing import Any

from bench.xds_shapes import REST, address


def bootstrap(node: str, admin_port: int, xds_port: int) -> dict[str, Any]:
    """Node identity, the admin page, and LDS and CDS over REST from the static cluster `xds-rest`."""
    name, _, namespace = node.split("~")[2].partition(".")
    return {
        "node": {
            "id": node,
            "cluster": f"{name}.{namespace}",
            "metadata": {
                "NAME": name,
                "NAMESPACE": namespace,
                "CLUSTER_ID": "Kubernetes",
                "LABELS": {"app": name},
            },
        },
        "admin": {"address": address("127.0.0.1", admin_port)},
        "dynamic_resources": {"lds_config": REST, "cds_config": REST},
        "static_resources": {
            "clusters": [
                {
                    "name": "xds-rest",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "load_assignment": {
                        "cluster_name": "xds-rest",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": address("127.0.0.1", xds_port)}}]}
                        ],
                    },
                }
            ]
        },
    }
