"""Time-outs for each step of the library. A C call cannot be interrupted, so the thread that waits for it gives up.

Every time-out is longer than VDDK's own one for the step (:mod:`vmkeep.vddk.config`), because VDDK's error says more.
The watch over the whole process (:mod:`vmkeep.transfer.stop_reasons`) waits longer than all of them.
"""

from __future__ import annotations

from vmkeep.lateclass import dataclass
from vmkeep.vddk.config import ACCEPT_SECONDS, READ_SECONDS, REQUEST_SECONDS, WRITE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds to wait for each step."""

    access: float = 120.0
    """Seconds for PrepareForAccess or EndAccess, which log in to vCenter and make one call."""
    opening: float = ACCEPT_SECONDS + REQUEST_SECONDS + 540.0
    """Seconds for ConnectEx and Open together. HotAdd attaches the disk by a task of vCenter."""
    asking: float = 600.0
    """Seconds for a query of allocated blocks, which is slow in some versions, or for the metadata."""
    reading: float = 600.0
    """Seconds without a completed read."""
    writing: float = WRITE_SECONDS + 300.0
    """Seconds for a write, or for Flush."""
    closing: float = 900.0
    """Seconds for Close, Disconnect and Cleanup together. HotAdd detaches the disk by a task, which takes minutes."""
    ending_reads: float = READ_SECONDS + 30.0
    """Seconds for requests in flight after the reader was closed."""

    @classmethod
    def within(cls, seconds: float) -> Patience:
        """Return the same number of seconds for every step."""
        return cls(
            access=seconds,
            opening=seconds,
            asking=seconds,
            reading=seconds,
            writing=seconds,
            closing=seconds,
            ending_reads=seconds,
        )
