"""Where the CPU time of one request goes, in a sidecar of ours and in Envoy's: `python -m bench.profile`."""
