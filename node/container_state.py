"""What is known of a container, and how Kubernetes words it in a pod's status.

Pure: the clock's text is an argument. Reference: Kubernetes, "Pod Lifecycle" (container states), core/v1 ContainerStatus.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SIGNALLED = 128  # exit codes above are 128 + the signal's number


@dataclass(slots=True)
class ContainerRecord:
    """One container's state. Exactly one of waiting, running and terminated is what `state` holds."""

    name: str
    image: str
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last_state: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    runs: int = 0
    ready: bool = False
    started: bool = False  # its startup probe succeeded, or it has none
    pid: int = 0  # of the running process, as this mesh sees it

    def wait(self, reason: str, message: str = "") -> None:
        self._leave()
        self.state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}

    def run(self, pid: int, now: str) -> None:
        self._leave()
        self.pid = pid
        self.restarts = self.runs
        self.runs += 1
        self.state = {"running": {"startedAt": now}}

    def terminate(self, exit_code: int, now: str, reason: str = "", message: str = "") -> None:
        started = self.state.get("running", {}).get("startedAt", now)
        ended: dict[str, Any] = {
            "exitCode": exit_code,
            "reason": reason or ("Completed" if exit_code == 0 else "Error"),
            "startedAt": started,
            "finishedAt": now,
        }
        if exit_code > SIGNALLED:
            ended["signal"] = exit_code - SIGNALLED
        if message:
            ended["message"] = message
        self._leave()
        self.state = {"terminated": ended}

    @property
    def running(self) -> bool:
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0

    def status(self) -> dict[str, Any]:
        """The ContainerStatus."""
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"glassmesh://{self.image}",
            "containerID": f"glassmesh://{self.pid}" if self.pid else "",
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "started": self.started,
            "restartCount": self.restarts,
        }

    def _leave(self) -> None:
        if "terminated" in self.state:
            self.last_state = self.state
        self.ready = self.started = False
        self.pid = 0
