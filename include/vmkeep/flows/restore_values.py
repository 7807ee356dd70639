"""The values that the steps of a restore hand to each other, under Airflow as JSON."""

from __future__ import annotations

from vmkeep.flows.restore_request import OnFailure, RestoreRequest
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.overwrite import BlockChoice, Blocks
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import VmIdentity
from vmkeep.model.references import NamedTag
from vmkeep.model.room import StoreNeed
from vmkeep.model.vmref import VmRef
from vmkeep.model.writeway import WriteWay


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMatch:
    """A disk of the point, and its target disk."""

    disk: Disk
    target_key: int | None
    """Device key of the disk on an existing VM; ``None``: the disk is created with a new VM, or not written."""
    written: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRestore:
    """A VM that still carries the mark of a dead restore."""

    vm: str
    """Managed object id."""
    run: str
    made: bool
    """The restore made the VM, which is half made; else the restore was writing over it."""
    whole: bool = False
    """Nothing is half written: the restore had ended well and only its mark came back with a snapshot, or it died after
    its last write, or before the first one over a VM that was there before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """The plan of a restore, decided and checked before the first change. The plan that is shown is carried out."""

    request: RestoreRequest
    point: str
    """Ref."""
    vm: VmIdentity
    """The VM that was backed up."""
    vcenter: str | None
    """Instance UUID of the vCenter that the plan is for; ``None``: an ESXi host."""
    target: VmIdentity | None
    """The existing VM that is written over; ``None``: a new VM is created."""
    target_disks: tuple[Disk, ...] = ()
    """All disks of the existing VM."""
    target_name: str
    target_runs: bool = False
    """The existing VM was running when the plan was made."""
    place: SettledPlace | None = None
    """The place of a new VM; ``None``: an existing VM is written over."""
    original_runs: bool = False
    """The original VM was running, in the same vCenter, when the plan was made."""
    matches: tuple[DiskMatch, ...]
    choices: tuple[BlockChoice, ...] = ()
    """The blocks to write of each disk of an existing VM, as far as that is known while the VM may still run."""
    dead: DeadRestore | None = None
    """A dead restore to the same target. It is ended first, and its half-made VM removed."""
    way: WriteWay | None = None
    """The way in which the disks of an existing VM are written; ``None``: by the network modes of the request, or, for
    a new VM, as :attr:`Target.way` says."""
    power_on: bool = False
    """The VM is switched on at the end."""
    template: bool = False
    """The new VM becomes a template at the end, as the saved one was."""
    tags: tuple[NamedTag, ...] = ()
    """The tags that a new VM gets at the end."""
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values of the custom attributes that a new VM gets at the end."""
    needs: tuple[StoreNeed, ...] = ()
    """The space that a new VM needs, on each of its datastores."""
    nvram: bool = True
    """The NVRAM is put back, if the point holds it."""
    warnings: tuple[str, ...] = ()
    nothing_to_do: bool = False
    """The VM exists, and ``keep`` was asked for."""

    @property
    def keeps_on_failure(self) -> bool:
        """Whether the VM stays as it is if the restore fails."""
        return self.request.on_failure is OnFailure.KEEP

    @property
    def writes_over(self) -> bool:
        """Whether content is lost that a VM or a LUN holds now."""
        return self.target is not None or bool(self.luns_written)

    @property
    def luns_written(self) -> tuple[str, ...]:
        """The canonical names of the LUNs that the content of RDMs is written over."""
        luns = dict(self.place.luns) if self.place is not None else {}
        return tuple(luns[match.disk.address] for match in self.matches if match.written and match.disk.address in luns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A VM that is ready for the disks: powered off, and marked by the run that made it ready."""

    vm: str
    """Managed object id."""
    run: str
    """The run that made it ready."""
    created: bool
    """The run created the VM; else the VM existed before."""
    choices: tuple[BlockChoice, ...] = ()
    """The blocks to write of each disk of an existing VM."""
    undo: str | None = None
    """Managed object id of the snapshot that is kept to undo the restore."""
    way: WriteWay | None = None
    """The way in which the disks are written; ``None``: by the network modes of the request."""
    snapshot: str | None = None
    """Managed object id of the temporary snapshot under which the disks are written."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDisk:
    """The outcome of a restore for one disk."""

    label: str
    address: str
    blocks: Blocks
    why_blocks: str
    """The reason for these blocks; empty: the disk is new."""
    bytes_written: int
    bytes_zeroed: int
    bytes_compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The outcome of a restore, with its counts."""

    run: str
    """The run that made the VM ready; empty: there was nothing to do."""
    vm: VmRef
    point: str
    created: bool
    powered_on: bool
    disks_written: int
    bytes_written: int
    bytes_zeroed: int
    disks: tuple[WrittenDisk, ...] = ()
    undo: str | None = None
    """Managed object id of the snapshot that is kept to undo the restore."""
    warnings: tuple[str, ...] = ()
    kept: bool = False
    """The target existed and was kept, as was asked. Nothing was restored."""
