"""Time-outs for each step of the library: a C call cannot be interrupted, so whoever waits gives up.

Every wait is longer than the time-out that VDDK itself has for the step (:mod:`vmkeep.vddk.config`), so that its own
error comes first and says more. A watch of the whole process
(:mod:`vmkeep.transfer.stop_reasons`) is longer than all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmkeep.vddk.config import ACCEPT_SECONDS, READ_SECONDS, REQUEST_SECONDS, WRITE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds, step by step."""

    access: float = 120.0
    """PrepareForAccess or EndAccess: a login to vCenter and one question."""
    opening: float = ACCEPT_SECONDS + REQUEST_SECONDS + 540.0
    """ConnectEx and Open together. HotAdd attaches the disk by a task of vCenter."""
    asking: float = 600.0
    """Seconds for a query for allocated blocks, which is slow in some versions, or for the metadata."""
    reading: float = 600.0
    """Without any request that completes."""
    writing: float = WRITE_SECONDS + 300.0
    """Seconds for a write, or for Flush."""
    closing: float = 900.0
    """Close, Disconnect and Cleanup together. HotAdd detaches the disk by a task of vCenter: minutes."""
    ending_reads: float = READ_SECONDS + 30.0
    """Requests in flight once nobody wants them any more."""

    @classmethod
    def within(cls, seconds: float) -> Patience:
        """Wait so long for every step alike."""
        return cls(
            access=seconds,
            opening=seconds,
            asking=seconds,
            reading=seconds,
            writing=seconds,
            closing=seconds,
            ending_reads=seconds,
        )
