"""The request of a restore, from a person, a recovery plan or the API.

Some options only make sense if a restore goes over an existing VM, and others only if it makes a new one. Each kind is
a value of its own. A request that has options of the wrong kind is refused, so that none is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from typing import Any

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.fieldwords import named
from vmkeep.model.job import from_plain
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.rdm import RdmReplacement
from vmkeep.model.scanning import ScanFirst, ScanOutcome
from vmkeep.model.transport import DEFAULT_MODES, TransportMode, require_some


class MacAddresses(StrEnum):
    """The MAC addresses of a new VM's network cards."""

    KEEP = "keep"
    """Each card keeps its address if no other VM on its network has it, and else gets a new one."""
    NEW = "new"
    """Each card gets a new address."""


class OnConflict(StrEnum):
    """The action if the target VM exists already, or if the content of an RDM would be written to a LUN."""

    ABORT = "abort"
    """Refuse the restore."""
    OVERWRITE = "overwrite"
    """Write over the VM's disks, or over the LUN that is named for the RDM."""
    KEEP = "keep"
    """Leave the VM as it is, and succeed; or map the LUN and write nothing to it."""
    PROMPT = "prompt"
    """Ask a person. The caller asks, and then plans with one of the other values."""


class OnFailure(StrEnum):
    """The fate of a VM that is partly written when its restore fails, is stopped or times out."""

    REMOVE = "remove"
    """A new VM is removed. An existing one stays off, and its notes warn of a start."""
    KEEP = "keep"
    """The VM stays off as it is, so that the restore can be gone on with. Its notes warn of a start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverOptions:
    """The options of a restore over an existing VM."""

    disks: tuple[str, ...] = ()
    """The disks of the point to write over the VM's; empty: all. A saved disk's address, label or key."""
    disk_map: tuple[str, ...] = ()
    """Options ``SAVED=TARGET``: the disk of the VM that a saved disk goes onto, where matching is not safe."""
    all_blocks: bool = False
    """Write every block, also those that did not change since the point."""
    undo: Undo = Undo.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVmOptions:
    """The options of a restore to a new VM. A place that is not named follows the original."""

    datastore: str | None = None
    folder: str | None = None
    resource_pool: str | None = None
    host: str | None = None
    log_directory: str | None = None
    """An existing folder for the VM's logs, ``[datastore] folder``; ``None``: beside the VM's own files."""
    suspend_directory: str | None = None
    """An existing folder for the VM's memory while it is suspended, as for its logs."""
    snapshot_directory: str | None = None
    """An existing folder for the VM's snapshots, as for its logs."""
    disk_datastores: tuple[str, ...] = ()
    """Options ``DISK=DATASTORE``: DISK is a saved disk's address (``scsi0:1``), label or device key."""
    networks: tuple[str, ...] = ()
    """Options ``OLD=NEW``: OLD is a saved card's label or its network, NEW the new card's network or ``none``."""
    connect_networks: bool = False
    """Connect the network cards as saved, even if the original runs beside the VM."""
    physical_rdm: str = RdmReplacement.PLACEHOLDER.value
    """The replacement of every saved physical RDM that has none of its own, a word of :mod:`vmkeep.model.rdm`."""
    rdms: tuple[str, ...] = ()
    """Options ``DISK=REPLACEMENT``: the replacement of one saved RDM, such a word."""
    luns: tuple[str, ...] = ()
    """Options ``DISK=LUN``: the free LUN that a saved RDM is mapped to."""
    keep_identity: bool = False
    """Keep the saved UUIDs. Otherwise the VM gets new ones, and can run beside the original."""
    mac_addresses: MacAddresses | None = None
    """``None``: addresses are kept with the identity, as far as they are free."""
    hardware_version: str | None = None
    """The hardware version to lower the VM to; ``None``: it keeps its own."""
    mapping: str = ""
    """Text of a mapping; see :mod:`vmkeep.mapping`. A plan's request holds its values instead."""
    drill: str = ""
    """The mark of the drill that the VM is made for; empty: it is made to stay."""

    @property
    def keeps_addresses(self) -> bool:
        """Network cards keep their MAC addresses, as far as these are free."""
        return self.keep_identity if self.mac_addresses is None else self.mac_addresses is MacAddresses.KEEP


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """A request to restore one point over an existing VM or to a new VM."""

    point: str
    """Ref, unique beginning of an id, or ``latest:<VM name>``."""
    run: str
    vm_selector: str | None = None
    """Selector of the existing VM to restore over; ``None`` without ``new_name``: the original VM and no other."""
    new_name: str | None = None
    """Name of the new VM to create instead."""
    on_conflict: OnConflict = OnConflict.ABORT
    """The disks of an existing VM are written only with ``overwrite``."""
    power_on: bool | None = None
    """Switch the VM on at the end; ``None``: if it ran when it was backed up."""
    verify: Verify = Verify.SAMPLE
    on_failure: OnFailure = OnFailure.REMOVE
    scan: ScanFirst = ScanFirst.NO
    """Whether the point is scanned for malware before anything else."""
    scanned: ScanOutcome | None = None
    """The outcome of that scan, because a store that takes no notes would lose it; ``None``: none was made."""
    over: OverOptions = OverOptions()
    new_vm: NewVmOptions = NewVmOptions()
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    dry_run: bool = False
    """Only make the plan. It cannot be carried out."""
    owner: str = ""
    """Names the program that asked; see :attr:`vmkeep.flows.backup_values.BackupRequest.owner`."""

    def __post_init__(self) -> None:
        """Refuse empty names, as an unset variable in a script gives them, and a request without a transport mode."""
        require_some(self.transports)
        for given, names in ((self, ("vm_selector", "new_name")), (self.new_vm, _PLACES)):
            for name in names:
                if getattr(given, name) == "":
                    raise UsageError(
                        f"{name.removesuffix('_selector').replace('_', ' ')} is empty: leave it out, or give a name"
                    )


_PLACES = (
    "datastore", "folder", "resource_pool", "host", "log_directory", "suspend_directory", "snapshot_directory",
    "hardware_version",
)  # fmt: skip
"""Fields of :class:`NewVmOptions` that are left out or name something."""


def make_request(**given: Any) -> RestoreRequest:
    """Return the request with these fields, in whichever of its parts each of them is.

    So the command line, Airflow's forms and tests name the fields alone. ``vm`` is the selector.

    :raises UsageError: a request has no such field.
    :raises ValueError: a value is of the wrong type.
    """
    if "vm" in given:
        given["vm_selector"] = given.pop("vm")
    parts = {
        part: {one.name: given.pop(one.name) for one in fields(kind) if one.name in given}
        for part, kind in (("over", OverOptions), ("new_vm", NewVmOptions))
    }
    if unknown := sorted(given.keys() - {one.name for one in fields(RestoreRequest)}):
        raise UsageError(f"a restore has no field {', '.join(unknown)}")
    return from_plain(RestoreRequest, {**given, **parts})


def require_no_new_vm_options(request: RestoreRequest) -> None:
    """Return if a request over an existing VM has no option that is only for a new VM.

    :raises UsageError: it has one. An existing VM has its place, its identity, its disks and its cards already.
    """
    for name in _said(request.new_vm):
        raise UsageError(
            f"{named(name)} is about a new VM, and this restore goes over an existing one: leave it out, or say "
            f"{named('new_name')} too"
        )


def require_no_over_options(request: RestoreRequest) -> None:
    """Return if a request for a new VM has no option that is only for an existing one.

    :raises UsageError: it has one. A new VM gets every disk of the saved one, and each at its old address.
    """
    for name in _said(request.over):
        raise UsageError(
            f"{named(name)} is about a VM that exists, and this restore makes a new one: leave it out, or attach "
            "single disks to a VM with 'vmkeep restore disk'"
        )


def _said(options: OverOptions | NewVmOptions) -> Iterator[str]:
    """Yield the fields that are not as they are without being given."""
    plain = type(options)()
    return (one.name for one in fields(options) if getattr(options, one.name) != getattr(plain, one.name))
