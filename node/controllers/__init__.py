"""Deployments and ReplicaSets: which pods should exist. The decisions are pure; `workloads` carries them out."""
