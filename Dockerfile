# Two images. `apps` holds the demo apps alone: no dependency, nothing of the mesh. `mesh` holds control plane, sidecar and
# node, with the locked packages and iptables. The sidecar runs from source; compiling its request path (ADR 5) for this Python takes about six
# minutes, once, and leaves the compiler behind in a stage of its own: docker compose build --build-arg COMPILE=1
ARG BASE=python:3.13-slim

FROM ${BASE} AS apps
WORKDIR /srv
COPY demo_apps demo_apps
# Compiled here: the processes may not write, and starting is quicker.
RUN python3 -m compileall -q demo_apps
USER 10001:10001

FROM ${BASE} AS packages
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends iptables >/dev/null \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /srv
# A package index other than pip's own is handed in from the environment; unset arguments are not defined in RUN.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
COPY requirements.lock .
# A base image may bring packages of its own that pip cannot replace.
RUN python3 -m pip install -q --no-cache-dir --root-user-action=ignore --ignore-installed --require-hashes -r requirements.lock

FROM packages AS compiled
COPY requirements-dev.lock .
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG COMPILE=0
# Debian's own Python has its headers in a package, the official image brings them. Of the development packages only mypy and what it needs.
RUN if [ "$COMPILE" = 1 ]; then \
      headers=$(python3 -c 'import os, sysconfig; print("" if os.path.exists(sysconfig.get_path("include") + "/Python.h") else "python3-dev")') \
   && apt-get update -qq \
   && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev $headers >/dev/null \
   && awk '/^[a-z]/ { wanted = /^(mypy|mypy-extensions|ast-serialize|librt|pathspec|setuptools|typing-extensions)==/ } wanted' \
        requirements-dev.lock >compiler.lock \
   && python3 -m pip install -q --no-cache-dir --root-user-action=ignore --ignore-installed --require-hashes -r compiler.lock; \
    fi
COPY proxy proxy
RUN if [ "$COMPILE" = 1 ]; then python3 -m proxy.compiled; fi

FROM packages AS mesh
COPY --from=compiled /srv/proxy proxy
COPY control control
COPY node node
COPY cli cli
COPY demo_apps/manifests demo_apps/manifests
RUN python3 -m compileall -q proxy control node cli \
 # Named volumes take owner and mode from here: the control plane's state, and the tokens only sidecars may read.
 && install -d -o 1338 -g 1338 -m 0700 /var/lib/glassmesh \
 && install -d -g 1337 -m 0750 /tokens/productpage /tokens/details /tokens/ratings /tokens/reviews /tokens/gateway \
 && install -d /root-cert
