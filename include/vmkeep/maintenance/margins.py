"""The margins of maintenance: how long it waits. Each margin names the race that it makes rare."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from vmkeep.blobs import LockRule
from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """The margins of one prune. All ages are by the store's clock.

    Prunes and backups at the same time are as safe without these margins, but more of them have to start again.
    """

    young_for: timedelta = timedelta(hours=48)
    """A pack younger than this is not condemned. Until a run is sealed, no restore point reaches its packs; without
    this margin, a prune would make every backup that runs longer than ``condemned_for`` start again."""
    condemned_for: timedelta = timedelta(hours=48)
    """A pack is deleted this long after a plan has condemned it. A writer that opened before the plan counts on the
    pack, and without this margin would have to start again. A restore that looked up a block before it was moved would
    have to look it up again."""
    waste: float = 0.25
    """A pack is rewritten if nothing reaches more than this fraction of its bytes."""
    left_for: timedelta = timedelta(days=7)
    """The leftovers of a dead process (a run's area, a sweep's record) are removed this long after its last sign of
    life. A process that was only suspended learns of the removal at its next call. Until then, for some milliseconds,
    safety rests on this margin alone."""

    def beside(self, lock: LockRule | None) -> Margins:
        """Return the margins for a store that locks blobs when they are put.

        A lock is extended while its pack is needed, so it may run for its full time from the plan on. The store would
        refuse an earlier sweep.
        """
        return replace(self, condemned_for=max(self.condemned_for, lock.period)) if lock else self
