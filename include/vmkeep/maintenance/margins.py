"""The margins of maintenance: how long it waits. Each margin names the race that it makes rare."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from vmkeep.blobs import LockRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """The margins of one prune. All ages are by the store's clock.

    Without them, prunes and backups at the same time are as safe, but more of them have to start again.
    """

    young_for: timedelta = timedelta(hours=48)
    """A pack so young is not condemned. Packs of a run that is not sealed yet are reached by no restore point: without
    it, a prune would make every backup that runs longer than ``condemned_for`` start again."""
    condemned_for: timedelta = timedelta(hours=48)
    """A pack is deleted so long after a plan has condemned it. A writer that had opened before the plan counts on such
    packs: without it, that run would have to start again. A restore that looked a block up before it was moved would
    have to look again."""
    waste: float = 0.25
    """A pack is rewritten when more of its bytes than this part are reached by nothing."""
    left_for: timedelta = timedelta(days=7)
    """Age at which the leavings of a dead process (a run's area, a sweep's record) go, from its last sign of life.
    One that was only stopped, and goes on then, learns it at its next call; what others do in the meantime, some
    milliseconds, rests on this margin alone."""

    def beside(self, lock: LockRule | None) -> Margins:
        """Return the margins for a store that locks what is put.

        A lock is extended while its pack is needed, so it may last its full time from the plan on: a sweep before that
        would only be refused.
        """
        return replace(self, condemned_for=max(self.condemned_for, lock.period)) if lock else self
