"""Cases as data: manifests that our control plane compiles, scripted apps, requests, and what to observe. See `../README.md`."""
