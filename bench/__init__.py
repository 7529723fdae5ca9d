"""Measures our sidecar beside other proxies in one run: same machine, same load, same configuration.

`python -m bench` prints the table and writes `bench/results/latest.json`. A peer is one file of `peers`, a workload
one file of `workloads`; `runner` knows neither by name.
"""
