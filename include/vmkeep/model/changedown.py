"""Changes from the mode or the quiescing that was asked for to the one that was used, each with its reason."""

from __future__ import annotations

from enum import StrEnum

from vmkeep.lateclass import dataclass


class ChangeReason(StrEnum):
    """The reason why a backup used another mode, or less quiescing, than was asked for."""

    TEMPLATE = "template"
    """A template never runs, so it is read as it is."""
    SNAPSHOTS_REFUSED = "snapshots-refused"
    """vSphere refuses every snapshot of the VM."""
    OUTSIDE_MEMORY_SNAPSHOT = "outside-memory-snapshot"
    """The VM has disks that no memory snapshot can include."""
    FAULT_TOLERANT = "fault-tolerant"
    """A second VM follows this one step by step, and vSphere takes only snapshots without memory then."""
    NOT_RUNNING = "not-running"
    """The VM is off, so it has no memory, and its guest has written out all data."""
    ALREADY_SUSPENDED = "already-suspended"
    """Somebody has suspended the VM, so its guest cannot act, and it stays suspended."""
    MEMORY_IS_HELD = "memory-is-held"
    """The snapshot includes the memory, or the VM is suspended for it; vSphere does not quiesce then."""
    NO_TOOLS = "no-tools"
    """No VMware Tools run in the guest."""
    QUIESCING_FAILED = "quiescing-failed"
    """vSphere could not quiesce the guest, at any try."""


class Changed(StrEnum):
    """The part of a request that was changed."""

    MODE = "mode"
    QUIESCE = "quiesce"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeDown:
    """One change from what was asked for to what was used. It is data, because reports count the reasons."""

    what: str
    """A :class:`Changed`. It is plain text, so that a program reads the points of a newer one."""
    asked: str
    used: str
    reason: str
    """A :class:`ChangeReason`, as plain text."""
    detail: str = ""
    """The reason in words, with the names of the disks or the fault."""

    def __str__(self) -> str:
        """Return the change as one line."""
        return f"{self.what} {self.asked} changed to {self.used}: {self.detail or self.reason}"
