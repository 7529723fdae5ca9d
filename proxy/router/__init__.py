"""Routing: which route a request takes, and the attempt loop that carries it to an upstream."""
