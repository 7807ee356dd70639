"""The way in which a restore writes the disks of a VM: the transport modes, and the snapshot that they need."""

from __future__ import annotations

from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.transport import TransportMode


class TemporarySnapshot(StrEnum):
    """The snapshot under which VDDK opens disks for writing. It goes before the VM is handed over."""

    NONE = "none"
    """None is needed."""
    ABOVE = "above"
    """The VM's current disks are written, above the snapshot. Removing it merges them into the disks below."""
    BELOW = "below"
    """The disks below the snapshot are written. The VM's current disks do not fit them any more, so that vSphere
    neither removes the snapshot nor starts the VM, until the VM is put back to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteWay:
    """The way in which all disks of one restore are written.

    It is one for the whole VM, because a VM that is put back to a snapshot loses all that was written above it.
    """

    modes: tuple[TransportMode, ...]
    """VDDK takes the first that works."""
    snapshot: TemporarySnapshot = TemporarySnapshot.NONE
    why: str = ""
    """The reasons against the modes that the request prefers."""
