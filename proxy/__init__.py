"""The sidecar: Glassmesh's data plane, and the agent beside a real Envoy."""

from proxy import compiled

compiled.use()
