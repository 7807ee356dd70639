"""The ages from which a sweep takes what it finds for left over."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

GIVEN_UP: Final = timedelta(hours=48)
"""Age from which a silent run of an unknown owner is dead."""
FOREIGN_AGE: Final = timedelta(days=3)
"""Age from which a snapshot of somebody else is reported. VMware advises to keep no snapshot for longer."""
