"""How much of a disk is looked at, where looking at all of it would take too long."""

from __future__ import annotations

from typing import Final

ALL_BELOW: Final = 64 << 20
"""Bytes up to which everything is read. More is sampled."""
SHARES: Final = 64
"""A sample is one of this many shares."""
