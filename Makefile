# Every target sets up what it needs; `make demo` and `make test` work on a machine with nothing but
# Python 3.11+, make and git. As root the system packages are installed; otherwise they are named.
SHELL := /bin/bash
# The distribution's Python where it is new enough: built with profile-guided optimisation it costs the sidecar a fifth less
# CPU than many a self-built one, and the users of a rootless mesh can read it.
PYTHON ?= $(shell /usr/bin/python3 -c 'import os, sys; assert sys.version_info >= (3, 11); os.getuid() and __import__("ensurepip")' 2>/dev/null && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
# Running needs little; the tests bring real Envoy and more.
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help setup system-packages demo test differential test-compose lint compile bench bench-quick bench-peers lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: system-packages $(DEV)  ## install system packages (as root) and the locked Python packages

system-packages:
	@PYTHON=$(PYTHON) bash .ci/system-packages

$(VENV):
	@echo "setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

# setuptools comes from the lock, so that building the editable install needs no unpinned download.
$(RUN): pyproject.toml requirements.lock | $(VENV)
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	@echo "installing the tools for development …"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

demo: system-packages $(RUN)  ## Bookinfo through real sidecars on this machine; Ctrl-C ends it
	@$(BIN)/glassmesh demo

# First what watches the clock, by itself; then three files at a time, since a whole-mesh test mostly waits.
test: setup  ## unit, conformance, differential and network-namespace tests
	@$(BIN)/python -m pytest tests/differential
	@$(BIN)/python -m pytest -m 'not compose' -n 3 --dist loadfile --ignore tests/differential

differential: setup  ## each differential scenario through Envoy and ours: same, allowed, or different and why
	@$(BIN)/python -m tests.differential

test-compose: setup  ## docker compose up, for real
	@$(BIN)/python -m pytest -m compose

lint: setup  ## ruff and mypy --strict
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# Optional: two minutes once, for two fifths less Python time per request. After an edit all runs from source until compiled anew.
compile: setup  ## compile the sidecar's request path with mypyc
	@COMPILER=1 PYTHON=$(PYTHON) bash .ci/system-packages
	@$(BIN)/python -m proxy.compiled

bench: compile bench-peers  ## our sidecar beside Envoy and others, in one run of about ten minutes
	@$(BIN)/python -m bench

bench-quick: compile  ## its chief workloads in about a minute
	@$(BIN)/python -m bench --quick

# Python's proxies pin what the sidecar needs newer, so they get an environment of their own. Without them the bench says so.
bench-peers: bench/.peers/installed

bench/.peers/installed: bench/python_peers/peers.lock
	@echo "installing mitmproxy and proxy.py into bench/.peers …"
	@$(PYTHON) -m venv bench/.peers
	@if bench/.peers/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r $<; then touch $@; \
	else echo "they could not be installed"; fi

lock: $(RUN)  ## resolve pyproject.toml into the hashed lock files
	@$(PIP) uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra build --extra dev pyproject.toml -o requirements-dev.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header bench/python_peers/peers.in -o bench/python_peers/peers.lock

clean:  ## stop a running mesh and remove what was built
	@[ ! -x $(BIN)/glassmesh ] || $(BIN)/glassmesh down || true
	rm -rf $(VENV) bench/.peers .glassmesh build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
