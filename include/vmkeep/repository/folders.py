"""The folders of a repository: the first part of every blob's key. ``docs/format.md`` describes their contents."""

from __future__ import annotations

PACKS = "packs/"
INDEX = "index/"
POINTS = "points/"
SEALED = "sealed/"
MARKS = "marks/"
DAMAGE = "damage/"
RUNS = "runs/"
PLANS = "plans/"
SWEEPS = "sweeps/"
FORGETTINGS = "forgettings/"
RECOVERIES = "recoveries/"
USES = "uses/"
FILES = "files/"
STORING = "storing/"
PROOFS = "proofs/"
KEYS = "keys/"
PROBES = "probes/"

FULL = frozenset(
    {
        PACKS,
        INDEX,
        POINTS,
        SEALED,
        MARKS,
        PROOFS,
        DAMAGE,
        RUNS,
        PLANS,
        SWEEPS,
        FORGETTINGS,
        RECOVERIES,
        USES,
        FILES,
        STORING,
    }
)
"""Folders that only a repository, or the rest of one, has."""

INITIAL = frozenset({KEYS, PROBES})
"""Folders that an interrupted ``init`` may have left."""
