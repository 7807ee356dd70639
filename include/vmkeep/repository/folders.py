"""The folders of a repository: the first part of every blob's key. Their contents are told in ``docs/format.md``."""

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
KEYS = "keys/"
PROBES = "probes/"

FULL = frozenset({PACKS, INDEX, POINTS, SEALED, MARKS, DAMAGE, RUNS, PLANS, SWEEPS, FORGETTINGS})
"""A place where one of these stands holds a repository, or the rest of one."""

INITIAL = frozenset({KEYS, PROBES})
"""An ``init`` that was interrupted may have left these."""
