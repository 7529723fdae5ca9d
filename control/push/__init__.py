"""From changed objects to configured proxies: the snapshot, the xDS server and the state of each proxy."""
