"""One scenario through real Envoy and through our sidecar, with the same configuration: what client and app saw must agree.

`python -m tests.differential` prints each scenario; `test_differential.py` runs the same under pytest. Envoy is the
judge: a difference is a defect of ours unless `compare.ALLOWED` gives the reason why it is none.
"""
