"""The chart of a request's stages: a bar for each sidecar, Envoy's above ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # draws into files, needs no display
from matplotlib import pyplot
from matplotlib.patches import Rectangle

from bench.charts import INK, STYLE
from bench.profile import native, stages

COLOURS = {
    native.SEND: "#4a5560",
    native.WAKE: "#6b7782",
    native.RECEIVE: "#8c97a1",
    native.EPOLL: "#aeb7bf",
    native.KERNEL: "#cfd5da",
    native.OPENSSL: "#c9a23a",
    stages.SOCKETS: "#0b5c66",
    stages.PARSE: "#0b7f8c",
    stages.HEADERS: "#2f98a4",
    stages.ROUTING: "#56b0ba",
    stages.UPSTREAM: "#7cc3c9",
    stages.STATS: "#a3d5d9",
    stages.LOG: "#88a65e",
    stages.FLOW: "#cf6a4d",
    stages.LOOP: "#dd9c88",
    stages.ENVOY: "#8a6fae",
}
_LABELLED = 2.0  # µs; a narrower part has no room for its figure


def draw(document: Mapping[str, Any], into: Path, name: str = "request-time") -> list[Path]:
    """Draws `document` (see `bench.profile`) as NAME.svg and NAME.png; returns the files."""
    bars = [
        (f"{peer}, {role}", figures["stages"])
        for role in ("server", "client")
        for peer, sidecars in reversed(document["peers"].items())
        if (figures := sidecars.get(role))
    ]
    shown = [stage for stage in stages.ORDER if any(stage in found for _, found in bars)]
    with pyplot.style.context("default"), matplotlib.rc_context(STYLE):
        figure, axes = pyplot.subplots(figsize=(9.5, 1.1 + 0.55 * len(bars) + 1.2), layout="constrained")
        for row, (_, found) in enumerate(bars):
            left = 0.0
            for stage in shown:
                width = found.get(stage, 0.0)
                axes.barh(
                    row, width, left=left, color=COLOURS[stage], height=0.62, label=stage if not row else None
                )
                if width >= _LABELLED:
                    axes.text(
                        left + width / 2,
                        row,
                        f"{width:.0f}",
                        ha="center",
                        va="center",
                        color="white",
                        fontsize=7,
                    )
                left += width
            axes.text(left + 0.5, row, f"{left:.0f} µs", va="center", color=INK)
        axes.set_yticks(range(len(bars)), [label for label, _ in bars])
        axes.set_xlabel("µs of CPU per request")
        axes.set_title("Where the CPU time of one request goes")
        handles = [Rectangle((0, 0), 1, 1, color=COLOURS[stage]) for stage in shown]
        figure.legend(handles, shown, loc="outside lower center", ncols=5, fontsize=7)
        files = [into / f"{name}.svg", into / f"{name}.png"]
        for file in files:
            metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {"Software": None}
            figure.savefig(file, dpi=110, metadata=metadata)
        pyplot.close(figure)
    return files
