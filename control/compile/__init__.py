"""Pure functions from a `PushContext` and a `Proxy` to Envoy xDS v3 resources, in protobuf JSON."""
