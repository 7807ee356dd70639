"""Creating a VM from its saved configuration: check everything first, then create it and set its boot order."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from vmkeep.errors import ConflictError, NotFoundError, StaleError, UnsupportedError, UsageError
from vmkeep.model.disk import SkipReason
from vmkeep.model.place import SettledPlace
from vmkeep.vsphere.api import moref, vim
from vmkeep.vsphere.cards import card_networks
from vmkeep.vsphere.configspec import BuiltSpec, SpecOptions, Surroundings, build, parse_config
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.encryption import can_encrypt
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.files import exists
from vmkeep.vsphere.hardware import require_version, takes_version
from vmkeep.vsphere.hosts import told_by_host
from vmkeep.vsphere.luns import Lun, free_lun, free_luns
from vmkeep.vsphere.marks import VmMark, list_marked, mark_on
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import DatastorePath, parse_path
from vmkeep.vsphere.places import Place, PlaceRequest, on_host, reopen_place, resolve_place
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.rights import On, Purpose, When
from vmkeep.vsphere.rightscheck import missing_when, require_for_new_vm
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.tasks import run_task

__all__ = [
    "Place", "PlaceRequest", "choose_host", "create_vm", "plan_vm", "reopen_place", "resolve_place", "settle",
]  # fmt: skip

log = logging.getLogger(__name__)

CREATE_SECONDS = 1800.0
"""Eager-zeroed disks are written in full before the task ends."""
FORGOTTEN_SECONDS = 900.0
"""Time for looking for a VM whose vCenter was restarted while the VM was made."""


def choose_host(
    session: Session, config_xml: str | bytes, place: Place, options: SpecOptions
) -> tuple[Place, BuiltSpec]:
    """Return the place with the first of its hosts that has all that the VM needs, and the VM's spec there.

    A host that has the datastore of each disk is preferred to one where disks would go to another. The choice is left
    to vSphere only where any host would do, because nobody documents what its default one has.

    :raises NotFoundError: none has; what each lacks is told.
    :raises UnsupportedError: all are too old for the VM's hardware.
    """
    lacking: dict[str, NotFoundError | UnsupportedError] = {}
    found: list[tuple[Place, BuiltSpec]] = []
    hosts = (place.host, *place.other_hosts)
    for host in hosts:
        here = place if host == place.host else on_host(session, place, host)
        try:
            found.append((here, plan_vm(session, config_xml, here, options)))
        except (NotFoundError, UnsupportedError) as error:
            lacking[here.host_name] = error
        else:
            if not found[-1][1].moved:
                break
    if found:
        here, built = min(found, key=lambda each: len(each[1].moved))
        any_host = here.by_vsphere and not lacking and _any_would_do(session, here, hosts, built)
        return replace(here, other_hosts=(), by_vsphere=any_host), built
    kind = UnsupportedError if all(isinstance(error, UnsupportedError) for error in lacking.values()) else NotFoundError
    raise kind(f"VM {options.name} cannot be made {told_by_host({name: str(why) for name, why in lacking.items()})}")


def _any_would_do(session: Session, place: Place, hosts: Iterable[str], built: BuiltSpec) -> bool:
    """Whether each of these hosts has the datastores and networks of a VM, and takes its hardware version."""
    if built.luns or built.moved:
        return False
    managed = [session.managed(vim.HostSystem, host) for host in hosts]
    with speaking(f"compare the hosts for VM {place.name}"):
        stores = read(session, session.managed(vim.HostSystem, place.host), "datastore")["datastore"] or ()
        used = {built.datastore, *(store for _, store in built.disks)}
        wanted = {moref(store) for store, values in read_each(session, stores, "name") if values["name"] in used}
        wanted |= {*built.network_ids}
        for _, values in read_each(session, managed, "datastore", "network"):
            if not wanted <= {moref(each) for name in ("datastore", "network") for each in values[name] or ()}:
                return False
    return all(takes_version(session, host, built.spec.version) for host in hosts if host != place.host)


def plan_vm(session: Session, config_xml: str | bytes, place: Place, options: SpecOptions) -> BuiltSpec:
    """Build the spec and check all it needs: datastores, networks, LUNs, rights. Changes nothing.

    :raises NotFoundError: a datastore, network or LUN does not exist there; the candidates are named.
    :raises PermissionDeniedError: a privilege is missing.
    :raises UnsupportedError: the VM's hardware is newer than the host's.
    """
    config = parse_config(config_xml)
    devices = config.hardware.device
    require_version(session, place.host, config.version)
    with speaking(f"plan VM {options.name}"):
        folder = session.managed(vim.Folder, place.folder)
        home = _home(place, config.files.vmPathName)
        around = Surroundings(
            datastore=home,
            disk_datastores=_disk_datastores(place, devices, home),
            luns=_luns(session, place, devices, options),
            networks=card_networks(
                session,
                session.managed(vim.HostSystem, place.host),
                devices,
                place.request.networks,
                origin=place.origin,
                same_vcenter=place.same_vcenter,
                connected=options.connect_networks,
            ),
            isos=_isos(session, place, devices),
            may_place_swap=not missing_when(session, Purpose.RESTORE_NEW, When.OWN_SWAP, {On.FOLDER: folder}),
            key_known=can_encrypt(session, folder, config.keyId),
        )
    require_for_new_vm(
        session,
        place,
        home=home,
        datastores=around.disk_datastores.values(),
        networks=[card.network.managed for card in around.networks.values()],
        when=_circumstances(config, around),
    )
    moved = tuple(_moved(place, devices, around))
    built = build(config, options, around)
    return replace(built, moved=moved, notes=(*moved, *built.notes))


def _moved(place: Place, devices: Iterable[Any], around: Surroundings) -> Iterator[str]:
    """Tell of each disk that goes to another datastore than it was on, though nobody asked for that."""
    for disk in disks_of(devices):
        asked = place.request.datastore or place.request.disk_datastores.get(disk.key)
        if asked is None and disk.file_name:
            old = DatastorePath.parse(disk.file_name).datastore
            new = around.disk_datastores.get(disk.key, around.datastore)
            if old != new:
                yield (
                    f"{disk.label}: goes to datastore {decode_name(new)}, because host {place.host_name} has no "
                    f"'{decode_name(old)}'"
                )


def _circumstances(config: Any, around: Surroundings) -> Iterator[When]:
    """Yield those whose rights a new VM cannot do without; without the others it is made otherwise, and says so."""
    if around.luns:
        yield When.RAW_MAPPING
    if config.template:
        yield When.TEMPLATE


def settle(place: Place, built: BuiltSpec) -> SettledPlace:
    """Return where a VM that was planned goes, with every part of it."""
    return SettledPlace(
        folder=place.folder,
        folder_path=place.folder_path,
        pool=place.pool,
        pool_path=place.pool_path,
        host="" if place.by_vsphere else place.host,
        host_name="" if place.by_vsphere else place.host_name,
        datastore=built.datastore,
        disks=built.disks,
        networks=built.networks,
        unconnected=built.unconnected,
        luns=built.luns,
        encrypted=built.spec.crypto is not None,
    )


def create_vm(
    session: Session,
    config_xml: str | bytes,
    place: Place,
    options: SpecOptions,
    *,
    settled: SettledPlace | None = None,
) -> str:
    """Create the VM, powered off, tracking off; return its managed object id.

    May be called again: a VM that the same run has made under that name, and not finished, is taken up.

    :param settled: where it was planned to go.
    :raises ConflictError: the name is taken in that folder.
    :raises StaleError: the VM, or a part of it, would go elsewhere.
    """
    saved = parse_config(config_xml)
    if place.taken_by is not None and not _is_of(session, place.taken_by, options.mark):
        raise ConflictError(f"a VM named {options.name} exists in {place.folder_path} ({place.taken_by})")
    made = place.taken_by
    if made is None:
        place, built = choose_host(session, config_xml, place, options)
        if settled is not None and (found := "; ".join(settled.differences(settle(place, built)))):
            raise StaleError(f"VM {options.name} would not go where it was planned to, nothing was made: {found}")
        for note in built.notes:
            log.info("VM %s: %s", options.name, note)
        made = _create(session, built.spec, place, options)
    if saved.bootOptions is not None and saved.bootOptions.bootOrder:
        _set_boot_order(session, made, saved)
    return made


def _is_of(session: Session, vm: str, mark: VmMark | None) -> bool:
    found = mark_on(session, vm)
    return mark is not None and found is not None and found.made and found.is_of(mark.run, mark.repository)


def _create(session: Session, spec: Any, place: Place, options: SpecOptions) -> str:
    """Create the VM. A task that is forgotten is not started again: its VM may still come, beside the second one."""
    folder = session.managed(vim.Folder, place.folder)
    pool = session.managed(vim.ResourcePool, place.pool)
    host = None if place.by_vsphere else session.managed(vim.HostSystem, place.host)
    what = f"create VM {options.name} in {place.folder_path}"
    with speaking(what):
        made = run_task(
            session,
            lambda: folder.CreateVM_Task(spec, pool, host),
            what=what,
            timeout=CREATE_SECONDS,
            look=lambda: _made(session, folder, options),
            again=False,
            settle=FORGOTTEN_SECONDS,
        )
    return moref(made)


def _made(session: Session, folder: Any, options: SpecOptions) -> Any:
    """Return the VM that the run has made in a folder; one that a restarted vCenter put elsewhere is not the one."""
    for found in list_marked(session):
        if options.mark is not None and found.mark.made and found.mark.is_of(options.mark.run, options.mark.repository):
            vm = session.vm(found.vm)
            if found.name == options.name and read(session, vm, "parent")["parent"] == folder:
                return vm
    return None


def _home(place: Place, vmx: str) -> str:
    if place.request.datastore is not None:
        return _datastore(place, place.request.datastore)
    saved = DatastorePath.parse(vmx).datastore
    return saved if saved in place.datastores else _datastore(place, decode_name(saved))


def _datastore(place: Place, name: str) -> str:
    """Return the stored spelling, which datastore paths are written with, of a name as a person types it."""
    for stored in place.datastores:
        if decode_name(stored) == name:
            return stored
    known = ", ".join(map(decode_name, place.datastores)) or "none"
    raise NotFoundError(
        f"the host has no datastore '{name}'; it has {known}: choose one of these for the VM "
        "(--datastore), or for one disk (--disk-datastore 'DISK=DATASTORE')"
    )


def _luns(session: Session, place: Place, devices: Iterable[Any], options: SpecOptions) -> dict[int, Lun]:
    """Return the free LUN for each raw mapping that gets one."""
    luns = {key: free_lun(session, place.host, name) for key, name in options.luns.items()}
    for disk in disks_of(devices):
        if disk.skip is SkipReason.PHYSICAL_RDM and options.physical_rdm == "lun" and disk.key not in luns:
            raise UsageError(
                f"{disk.label}: name the free LUN that this physical RDM is to be mapped to "
                f"(--lun '{disk.address}=LUN'; in Airflow the field luns); {free_luns(session, place.host)}"
            )
    twice = [lun.device_name for lun in luns.values() if list(luns.values()).count(lun) > 1]
    if twice:
        raise UsageError(f"LUN {twice[0]} is named for two disks: each needs one of its own")
    return luns


def _disk_datastores(place: Place, devices: Iterable[Any], home: str) -> dict[int, str]:
    """As asked; else where the disk was, unless one datastore was named for all or the old one is not there."""
    chosen: dict[int, str] = {}
    for disk in disks_of(devices):
        asked = place.request.disk_datastores.get(disk.key)
        if asked is not None:
            chosen[disk.key] = _datastore(place, asked)
        elif place.request.datastore is None and disk.file_name:
            old = DatastorePath.parse(disk.file_name).datastore
            chosen[disk.key] = old if old in place.datastores else home
    # Disks beside the VM's own files need no name: vSphere puts them into the VM's folder.
    return {key: name for key, name in chosen.items() if name != home}


def _isos(session: Session, place: Place, devices: Iterable[Any]) -> frozenset[str]:
    kind = vim.vm.device.VirtualCdrom
    names = {
        device.backing.fileName
        for device in devices
        if isinstance(device, kind) and isinstance(device.backing, kind.IsoBackingInfo) and device.backing.fileName
    }
    return frozenset(
        name
        for name in names
        if (path := parse_path(name)) is not None
        and path.datastore in place.datastores
        and exists(session, path, place.datacenter_path)
    )


def _set_boot_order(session: Session, vm: str, saved: Any) -> None:
    """Set the saved boot order with the new device keys: disks by address, network cards by their order."""
    now = read(session, session.vm(vm), "config.hardware.device")["config.hardware.device"]
    keys = _new_keys(saved.hardware.device, now)
    order = [item for item in saved.bootOptions.bootOrder if getattr(item, "deviceKey", None) in (None, *keys)]
    for item in order:
        if getattr(item, "deviceKey", None) is not None:
            item.deviceKey = keys[item.deviceKey]
    what = f"set the boot order of VM {vm}"
    spec = vim.vm.ConfigSpec(bootOptions=vim.vm.BootOptions(bootOrder=order))
    with speaking(what):
        # Setting the same order twice does no harm, so nobody has to look whether it was set.
        run_task(
            session,
            lambda: session.vm(vm).ReconfigVM_Task(spec),
            what=what,
            timeout=CREATE_SECONDS,
            look=lambda: None,
            settle=0.0,
        )


def _new_keys(saved: Iterable[Any], now: Iterable[Any]) -> dict[int, int]:
    saved, now = list(saved), list(now)
    here = {disk.address: disk.key for disk in disks_of(now)}
    keys = {disk.key: here[disk.address] for disk in disks_of(saved) if disk.address in here}
    cards = (sorted(d.key for d in group if isinstance(d, vim.vm.device.VirtualEthernetCard)) for group in (saved, now))
    keys.update(zip(*cards, strict=False))
    return keys
