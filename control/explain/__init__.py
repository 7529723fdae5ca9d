"""What would happen to a request, told from configuration alone, by the sidecar's own matchers."""
