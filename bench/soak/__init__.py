"""A soak: every traffic feature on, an upstream that fails now and then, and whether memory, descriptors and gauges stay flat.

`python -m bench.soak [--requests N]`
"""
