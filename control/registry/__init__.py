"""What runs in the mesh: services, workloads and their identities, read from Kubernetes objects."""
