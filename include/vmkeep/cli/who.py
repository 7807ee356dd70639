"""The person who runs a command, for marks and proofs."""

from __future__ import annotations

import getpass
import os
import socket


def who() -> str:
    """Return the user and the machine, e.g. ``root@backup01``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
