"""Upstreams: clusters, their hosts, connection pools, load balancing and circuit breakers."""
