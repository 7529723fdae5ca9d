"""Runs a command as an ordinary user who exists in this process's view of the machine only: `as_user.py SUBIDS FILES TREE… -- CMD…`.

In a mount namespace of its own it shows /etc/passwd, /etc/subuid and the like with the user in them, and makes the interpreter readable where
the host hides it below /root. FILES is a directory to write in. So the rootless mesh is tested for real, as an ordinary user, without adding one to the host.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from node import namespaces
from node.view import View

UID, NAME = 47110, "glassmesh-test"
FIRST_SUB_ID = 3_000_000_000


def main() -> None:
    with_ids, files = sys.argv[1] == "yes", Path(sys.argv[2])
    split = sys.argv.index("--")
    trees, command = [Path(tree) for tree in sys.argv[3:split]], sys.argv[split + 1 :]
    namespaces.unshare(namespaces.NEWNS)
    namespaces.make_private()
    View().reveal(trees)
    lines = {
        "passwd": f"{NAME}:x:{UID}:{UID}::/nonexistent:/bin/sh\n",
        "group": f"{NAME}:x:{UID}:\n",
        "subuid": f"{NAME}:{FIRST_SUB_ID}:65536\n" if with_ids else "",
        "subgid": f"{NAME}:{FIRST_SUB_ID}:65536\n" if with_ids else "",
    }
    for name, line in lines.items():
        path, shown = Path("/etc") / name, files / name
        shown.write_text((path.read_text() if path.exists() else "") + line)
        shown.chmod(0o644)
        namespaces.bind(str(shown), str(path))
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    os.environ["HOME"] = "/nonexistent"
    os.execv(command[0], command)


main()
