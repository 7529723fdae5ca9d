"""HTTP: codecs, the connection manager, and the HTTP filters it runs."""
