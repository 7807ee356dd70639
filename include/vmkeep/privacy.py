"""Keeps the memory of a process that holds passwords and keys to the process.

No core dump: not a file, for which a limit of 0 is enough, and not through a pipe to a collector such as
systemd-coredump, which asks no such limit. So the process is made *not dumpable*, too. Then no other process of the
same user can read its memory or environment or attach to it, debuggers and ``py-spy`` included: only root can. Its
entries in ``/proc`` belong to root from then on; what this program and Airflow read there of others (state, size,
limits) anybody may read. Programs that it starts begin dumpable again; processes that it forks stay as they are.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def hide_memory() -> None:
    """Leave no core dump from now on, and let no other process of this user look in."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError):  # another system than Linux, where the command line works, too
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(0),) * 4)
