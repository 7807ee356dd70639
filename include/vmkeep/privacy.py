"""Protects the memory of a process that holds passwords and keys from other processes and from core dumps.

A limit of 0 prevents a core file. It does not prevent a pipe to a collector such as systemd-coredump, which ignores the
limit. So the process is made *not dumpable*, too. Then only root can read its memory or environment or attach to it;
other processes of the same user cannot, debuggers and ``py-spy`` included. Its entries in ``/proc`` belong to root from
then on. The entries that vmkeep and Airflow read there about other processes (state, size, limits) are open to all
users. A program that the process starts is dumpable again. A process that it forks is not.
"""

from __future__ import annotations

import ctypes
import resource
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def hide_memory() -> None:
    """Prevent core dumps from now on, and keep other processes of this user from reading this one's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(AttributeError):  # systems other than Linux have no prctl; the command line works there, too
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, *(ctypes.c_ulong(0),) * 4)
