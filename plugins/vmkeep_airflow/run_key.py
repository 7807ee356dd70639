"""Run keys: which DAG run, and which try of its snapshot, something in vSphere or the repository belongs to.

A key is part of a snapshot's name (vSphere allows 80 characters) and of blob names, so it is short and plain;
``Owner`` keeps what it was made from, so that a sweep can ask Airflow whether that run is still alive.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9.]+")
_READABLE = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The DAG run that a run key stands for."""

    dag_id: str
    run_id: str

    def run_key(self, try_number: int) -> str:
        """Return the key of one try, e.g. ``manual-2026-11-20T11.00.00-1f0c93d2.1``; at most 46 characters.

        Every try of the snapshot task is a run of its own in the repository: a cleared task must neither find
        itself fenced by the teardown before it, nor mix its disks with those of the older snapshot.
        """
        readable = _NOT_PLAIN.sub("-", self.run_id.replace("__", "-").replace(":", ".").split("+")[0]).strip("-")
        digest = hashlib.sha256(f"{self.dag_id}\n{self.run_id}".encode()).hexdigest()[:8]
        return f"{readable[:_READABLE].strip('-')}-{digest}.{try_number}"
