"""The certificate authority of the mesh and the tokens workloads show it."""
