"""Waits until told to stop: a container to run commands in. `python -m demo_apps.sleep`."""

from __future__ import annotations

import signal


def main() -> None:
    """Returns at SIGTERM or SIGINT; as pid 1 of a container, where they would otherwise be ignored."""
    wanted = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    signal.sigwait(wanted)


if __name__ == "__main__":
    main()
