"""Configuration at scale: how long a change takes to reach every sidecar, and what holding it costs.

    python -m bench.scale [--services N] [--endpoints 10] [--clients 1000] [--over plaintext tls]

A control plane of its own gets its objects through its Kubernetes-style API, in a network namespace that nothing else sees. Real
sidecars, ours and Envoy with its agent, each in a namespace of a pod, and then thin xDS clients without a data path follow it
while single changes are made, through the API and by `kubectl apply` where there is a kubectl.
"""
