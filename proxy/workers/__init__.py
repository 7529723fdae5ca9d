"""Several processes that serve as one sidecar: `--concurrency N`, docs/adr/0006."""
