"""The values of undoing a restore, and of accepting it."""

from __future__ import annotations

from datetime import datetime

from vmkeep.lateclass import dataclass
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoable:
    """A restore of a VM that can be undone or accepted."""

    vm: VmRef
    restore: str
    """Key of the restore."""
    snapshot: str
    """Managed object id of the snapshot that it keeps."""
    taken_at: datetime
    """Time of the snapshot, by vCenter's clock."""
    power: str
    """Power state of the VM now."""
    disks_added: tuple[str, ...] = ()
    """Files of the disks that the VM got after the restore. As long as it has them, the restore cannot be undone."""
    devices_added: tuple[str, ...] = ()
    """Labels of other devices that the VM got after the restore. Undoing it takes them off."""

    @property
    def id(self) -> str:
        """The restore and its VM, so that an approval holds for no other."""
        return f"{self.vm.moref}/{self.snapshot}/{self.restore}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """The outcome for one VM."""

    vm: VmRef
    restore: str
    """Key of the restore that was undone or accepted."""
    snapshot: str
    """Managed object id of the snapshot, which is gone now."""
    undone: bool
    """The VM is what it was before the restore; else the restored state stays."""
    powered_on: bool = False
    warnings: tuple[str, ...] = ()
