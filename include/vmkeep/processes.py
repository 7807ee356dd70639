"""Tells whether the process that left a note or a draft is dead, as far as this process can know."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ABANDONED_AFTER: Final = 86400.0
"""Seconds of silence, after which the work of a process that nobody can look at counts as abandoned."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MARK: Final = re.compile(r"([0-9a-f]{16})-([1-9]\d{0,9})-(\d{1,20})", re.ASCII)


def this_process() -> dict[str, object]:
    """Return what tells this process from any other, on any machine, at any time."""
    return {"boot": boot(), "space": _space(), "process": os.getpid(), "started": _started(os.getpid())}


def is_dead(note: Mapping[str, object]) -> bool:
    """Return whether the process of a note is surely dead. One of another machine or container never is."""
    process = note.get("process")
    if not boot() or note.get("boot") != boot() or note.get("space") != _space() or not isinstance(process, int):
        return False
    return _started(process) != note.get("started")


def mark_of_this_process() -> str:
    """Return what tells this process from any other in letters, digits and dashes, for a file's name."""
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid()) or 0}"


def is_dead_mark(mark: str) -> bool:
    """Return whether the process of a mark is surely dead. One of another machine or container never is."""
    found = _MARK.fullmatch(mark)
    return found is not None and bool(boot()) and found[1] == _machine() and _started(int(found[2])) != found[3]


def boot() -> str:
    """Return the id of this machine's present run, which all of its containers share; empty: it is not known."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _machine() -> str:
    """Return this machine's present run and container in few letters."""
    return hashlib.sha256(f"{boot()} {_space()}".encode()).hexdigest()[:16]


def _space() -> str:
    """Return the name of the space in which this process has its number. Each container has another."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(process: int) -> str:
    """Return the time at which a process began; empty: there is none of that number."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]  # the 22nd field; the second is the name, which may hold blanks
