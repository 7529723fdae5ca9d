"""Sockets: listeners, connections, the driver of coroutines, and opaque TCP."""
