"""The Kubernetes-style API: kubectl on one side, the store on the other."""
