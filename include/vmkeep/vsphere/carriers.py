"""Makes the carrier of a run: a VM that is always off, and that has new disks while they are written.

VDDK writes no disk that a running VM has open, and a VM must never be able to start with a half-written disk. So a new
disk for an existing VM is made on a carrier of its own. The disk leaves it only when it is whole (see
:mod:`vmkeep.vsphere.attaching`). A carrier is marked as a VM that its run has made. A clean-up removes it with all the
disks that it still has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vmkeep.errors import ConflictError, NotFoundError, VSphereError
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import VmIdentity
from vmkeep.model.room import growth, require_room
from vmkeep.vsphere import create
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.configspec import SpecOptions, parse_config
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.freespace import need_of, read_free
from vmkeep.vsphere.names import decode_name, encode_name
from vmkeep.vsphere.paths import DatastorePath
from vmkeep.vsphere.places import Place, PlaceRequest, on_host, resolve_place
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.specdisks import DiskRules, new_disk
from vmkeep.vsphere.storenames import stored_datastore
from vmkeep.vsphere.tasks import run_task
from vmkeep.vsphere.vmsettings import options_for

MOST_DISKS = 60
"""Number of disks that a carrier can have: 15 on each of its four SCSI controllers."""
_UNITS = (*range(7), *range(8, 16))
_SECONDS = 300.0
_NOTE = "Made by vmkeep for the time in which it writes new disks of another VM. Do not switch it on or delete it."


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedDisk:
    """A new disk on a carrier."""

    key: int
    """Device key of the saved disk."""
    capacity: int
    thin: bool
    file_name: str
    """File to make, or only its datastore: vSphere then chooses folder and name."""
    mode: str
    """vSphere's mode of the saved disk, which the new one has once it is attached."""
    notes: tuple[str, ...] = ()
    """The differences from the saved disk, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierPlan:
    """The carrier that a run is going to make."""

    name: str
    place: Place
    home: str
    """Datastore of its own files: that of the VM which gets the disks."""
    disks: tuple[CarriedDisk, ...]
    space: tuple[str, ...] = ()
    """Warnings about room on the datastores."""


def find_place(session: Session, target: VmIdentity, name: str, datastore: str | None) -> Place:
    """Return the place of a carrier: beside the VM that gets the disks, on the same host, which so sees their files.

    :param datastore: the datastore for the disks, as a person names it; ``None``: the target's own.
    :raises NotFoundError: the datacenter has no such datastore.
    """
    place = resolve_place(session, target, PlaceRequest(datastore=datastore), name)
    with speaking(f"look at the host of VM {target.name}"):
        host = read(session, session.vm(target.moref or ""), "runtime.host")["runtime.host"]
        here = place if host is None or moref_of(host) == place.host else on_host(session, place, moref_of(host))
    return replace(here, by_vsphere=False, other_hosts=())


def plan_carrier(
    session: Session, config_xml: str | bytes, disks: Sequence[Disk], place: Place, *, vmx: str, token: str
) -> CarrierPlan:
    """Plan a carrier for new disks like some saved ones. Changes nothing.

    A disk on the target's own datastore goes into the target's folder, and else into a folder of its own.

    :param vmx: datastore path of the target's ``.vmx``.
    :param token: makes the names of the files unique.
    :raises NotFoundError: the target's host has no such datastore.
    :raises ConflictError: the datastore has no room, or there are too many disks.
    """
    if len(disks) > MOST_DISKS:
        raise ConflictError(f"{len(disks)} disks at once are too many: attach at most {MOST_DISKS} at a time")
    home = DatastorePath.parse(vmx)
    asked = place.request.datastore
    store = home.datastore if asked is None else stored_datastore(place, asked, what=f"{named('datastore')}: ")
    if home.datastore not in place.datastores:
        raise NotFoundError(
            f"host {place.host_name} cannot use datastore '{decode_name(home.datastore)}', on which the VM's own files "
            "are: see to the datastore, then try again"
        )
    saved = {device.key: device for device in parse_config(config_xml).hardware.device}
    stem = home.path.rpartition("/")[2].removesuffix(".vmx")
    made: list[CarriedDisk] = []
    for number, disk in enumerate(disks, start=1):
        own = str(home.sibling(f"{stem}-{token}-{number}.vmdk"))
        made.append(_carried(saved[disk.key], disk, own if store == home.datastore else f"[{store}]"))
    space = _require_room(session, place, store, made)
    return CarrierPlan(name=place.name, place=place, home=home.datastore, disks=tuple(made), space=space)


def _carried(saved: Any, disk: Disk, file_name: str) -> CarriedDisk:
    notes: list[str] = []
    made = new_disk(saved, None, DiskRules(physical_rdm="disk"), notes)
    assert made is not None
    if disk.key_id is not None:
        notes.append(f"{disk.label}: was encrypted, and the new disk is not, so that its content lies in clear")
    return CarriedDisk(
        key=disk.key,
        capacity=int(made.capacityInBytes),  # pyVmomi has its own type for a long
        thin=bool(made.backing.thinProvisioned),
        file_name=file_name,
        mode=made.backing.diskMode,
        notes=tuple(notes),
    )


def _require_room(session: Session, place: Place, store: str, disks: Iterable[CarriedDisk]) -> tuple[str, ...]:
    """Return warnings about a datastore's room.

    :raises ConflictError: thick disks need more than it has. vSphere would find that out only as it makes them.
    """
    space = read_free(session, place.host)[store]
    need = need_of(space, ((disk.capacity, disk.thin) for disk in disks))
    require_room(need, "the disks take", remedy="choose another")
    return growth(need, "the thin disks can grow to")


def datastore_of(disk: CarriedDisk) -> str:
    """Return the name of a new disk's datastore, as vSphere stores it."""
    return DatastorePath.parse(disk.file_name).datastore


def make_carrier(session: Session, config_xml: str | bytes, plan: CarrierPlan, claim: VmClaim) -> str:
    """Make the carrier with its new, empty disks. Return its managed object id.

    :raises ConflictError: its name is taken.
    """
    settled = SettledPlace(
        folder=plan.place.folder, folder_path=plan.place.folder_path, pool=plan.place.pool,
        pool_path=plan.place.pool_path, host=plan.place.host, host_name=plan.place.host_name, datastore=plan.home,
        disks=(), networks=(),
    )  # fmt: skip
    place = create.reopen_place(session, settled, PlaceRequest(), plan.name)
    if place.taken_by is not None:
        raise ConflictError(f"a VM named {plan.name} exists in {place.folder_path} ({place.taken_by})")
    spec = carrier_spec(config_xml, plan, claim)
    return create.make_vm(session, spec, place, SpecOptions(name=plan.name, claim=claim))


def carrier_spec(config_xml: str | bytes, plan: CarrierPlan, claim: VmClaim) -> Any:
    """Return the spec of a carrier. Pure."""
    saved = {device.key: device for device in parse_config(config_xml).hardware.device}
    kinds = vim.vm.device
    addition = kinds.VirtualDeviceSpec
    controllers = -(-len(plan.disks) // len(_UNITS))
    changes = [
        addition(
            operation="add",
            device=kinds.VirtualLsiLogicController(key=-1 - bus, busNumber=bus, sharedBus="noSharing"),
        )
        for bus in range(controllers)
    ]
    for number, (disk, (bus, unit)) in enumerate(zip(plan.disks, _places(len(plan.disks)), strict=True)):
        made = new_disk(saved[disk.key], None, DiskRules(physical_rdm="disk"), [])
        assert made is not None
        made.key, made.controllerKey, made.unitNumber = -100 - number, -1 - bus, unit
        made.backing.fileName = disk.file_name
        made.backing.diskMode = "persistent"  # because VDDK's writes to any other mode may be lost
        made.shares = made.storageIOAllocation = made.guestReadOnly = None
        changes.append(addition(operation="add", fileOperation="create", device=made))
    return vim.vm.ConfigSpec(
        name=encode_name(plan.name),
        guestId="otherGuest64",
        numCPUs=1,
        memoryMB=16,
        annotation=_NOTE,
        files=vim.vm.FileInfo(vmPathName=f"[{plan.home}]"),
        changeTrackingEnabled=False,
        extraConfig=options_for(claim.settings),
        deviceChange=changes,
    )


def by_saved_key(plan: CarrierPlan, disks: Iterable[Disk]) -> Mapping[int, Disk]:
    """Return the disks of a carrier by the keys of the saved disks.

    :raises ConflictError: the carrier has not the disks that were planned.
    """
    found = {(disk.bus, disk.unit): disk for disk in disks}
    there: dict[int, Disk] = {}
    for wanted, place in zip(plan.disks, _places(len(plan.disks)), strict=True):
        disk = found.get(place)
        if disk is None or disk.capacity != wanted.capacity:
            raise ConflictError(f"VM {plan.name} has not the new disk for {wanted.key} any more")
        there[wanted.key] = disk
    return there


def _places(number: int) -> list[tuple[int, int]]:
    return [(index // len(_UNITS), _UNITS[index % len(_UNITS)]) for index in range(number)]


def unload(session: Session, moref: str, files: Iterable[str]) -> None:
    """Take disks off a carrier, if it still exists and has them. Their files stay."""
    wanted = set(files)
    what = f"take {len(wanted)} disks off VM {moref}"
    with speaking(what):
        devices = read(session, session.vm(moref), "config.hardware.device")["config.hardware.device"]
        removal = vim.vm.device.VirtualDeviceSpec
        changes = [
            removal(operation="remove", device=device)  # without a file operation
            for device in devices
            if isinstance(device, vim.vm.device.VirtualDisk) and device.backing.fileName in wanted
        ]
        if not changes:
            return
        spec = vim.vm.ConfigSpec(deviceChange=changes)
        run_task(
            session,
            lambda: session.vm(moref).ReconfigVM_Task(spec),
            what=what,
            timeout=_SECONDS,
            look=lambda: None if wanted & _files_on(session, moref) else True,
        )


def has(session: Session, moref: str, file_name: str) -> bool:
    """Return whether a carrier exists and has a disk with this file."""
    try:
        with speaking(f"look for {file_name} on VM {moref}"):
            return file_name in _files_on(session, moref)
    except NotFoundError:
        return False


def load(session: Session, moref: str, file_name: str) -> bool:
    """Put an existing disk onto a carrier again, so that it goes with the carrier. Return whether the file is there."""
    if file_name in _files_on(session, moref):
        return True
    what = f"put {file_name} back onto VM {moref}"
    with speaking(what):
        devices = read(session, session.vm(moref), "config.hardware.device")["config.hardware.device"]
        controllers = [one for one in devices if isinstance(one, vim.vm.device.VirtualSCSIController)]
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=file_name, diskMode="persistent")
        controller, unit = _free(devices, controllers)
        disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=controller, unitNumber=unit, backing=backing)
        change = vim.vm.device.VirtualDeviceSpec(operation="add", device=disk)
        spec = vim.vm.ConfigSpec(deviceChange=[change])
    try:
        with speaking(what):
            run_task(
                session,
                lambda: session.vm(moref).ReconfigVM_Task(spec),
                what=what,
                timeout=_SECONDS,
                look=lambda: True if file_name in _files_on(session, moref) else None,
            )
    except VSphereError as error:
        if error.fault == "FileNotFound":
            return False
        raise
    return True


def _free(devices: Iterable[Any], controllers: Iterable[Any]) -> tuple[int, int]:
    taken = {(device.controllerKey, device.unitNumber) for device in devices}
    return next((one.key, unit) for one in controllers for unit in _UNITS if (one.key, unit) not in taken)


def _files_on(session: Session, moref: str) -> set[str]:
    devices = read(session, session.vm(moref), "config.hardware.device")["config.hardware.device"]
    return {disk.file_name for disk in disks_of(devices)}
