"""Fits a saved VM to a place: finds a host with all that the VM needs, builds its spec there, and checks the rights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vmkeep.errors import NotFoundError, UnsupportedError, UsageError
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.place import SettledPlace
from vmkeep.model.rdm import RdmReplacement
from vmkeep.vsphere.addresses import taken_addresses
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.cards import CardNetwork, card_networks
from vmkeep.vsphere.configspec import BuiltSpec, SpecOptions, Surroundings, build, keys_of, parse_config
from vmkeep.vsphere.directories import settle_directories
from vmkeep.vsphere.disks import disks_of, name_of_key
from vmkeep.vsphere.encryption import usable_keys
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.freeluns import (
    LunUses,
    LunWish,
    find_luns,
    free_lun,
    free_luns,
    require_mappings,
    require_room,
    uses_of_luns,
)
from vmkeep.vsphere.hardware import require_version, takes_version
from vmkeep.vsphere.hosts import told_by_host
from vmkeep.vsphere.lowering import require_lower
from vmkeep.vsphere.luns import Lun, list_luns
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import DatastorePath, parse_path
from vmkeep.vsphere.placedsettings import refused_settings
from vmkeep.vsphere.places import Place, on_host
from vmkeep.vsphere.policychoice import ChosenPolicies, choose_policies
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.rights import When
from vmkeep.vsphere.rightscheck import require_for_new_vm
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.storenames import stored_datastore
from vmkeep.vsphere.vmfiles import exists


def choose_host(
    session: Session, config_xml: str | bytes, place: Place, options: SpecOptions
) -> tuple[Place, BuiltSpec]:
    """Return the place with the first of its hosts that has all that the VM needs, and the VM's spec there.

    A host with the old datastore of each disk is preferred. vSphere may choose the host only if every host would do,
    because VMware does not document which host it takes.

    :raises NotFoundError: no host has all. The message tells what each host lacks.
    :raises UnsupportedError: all hosts are too old for the VM's hardware version.
    """
    lacking: dict[str, NotFoundError | UnsupportedError] = {}
    found: list[tuple[Place, BuiltSpec]] = []
    hosts = (place.host, *place.other_hosts)
    options = _with_found_luns(session, config_xml, hosts, options)
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
    """Return whether each of these hosts has the datastores and networks of a VM, and takes its hardware version."""
    if built.luns or built.moved:
        return False
    managed = [session.managed(vim.HostSystem, host) for host in hosts]
    with speaking(f"compare the hosts for VM {place.name}"):
        stores = read(session, session.managed(vim.HostSystem, place.host), "datastore")["datastore"] or ()
        used = {built.datastore, *(store for _, store in built.disks)}
        wanted = {moref_of(store) for store, values in read_each(session, stores, "name") if values["name"] in used}
        wanted |= {*built.network_ids}
        for _, values in read_each(session, managed, "datastore", "network"):
            if not wanted <= {moref_of(each) for name in ("datastore", "network") for each in values[name] or ()}:
                return False
    return all(takes_version(session, host, built.spec.version) for host in hosts if host != place.host)


def plan_vm(session: Session, config_xml: str | bytes, place: Place, options: SpecOptions) -> BuiltSpec:
    """Build the spec and check all that it needs: datastores, networks, LUNs, rights. Changes nothing.

    :raises NotFoundError: a datastore, network or LUN does not exist there. The message lists the candidates.
    :raises PermissionDeniedError: a privilege is missing.
    :raises UnsupportedError: the VM's hardware is newer than the host's.
    """
    config = parse_config(config_xml)
    devices = config.hardware.device
    require_lower(config, options.version)
    require_version(session, place.host, options.version or config.version)
    with speaking(f"plan VM {options.name}"):
        folder = session.managed(vim.Folder, place.folder)
        home = _home(place, config.files.vmPathName)
        stores = _disk_datastores(place, devices, home)
        keys = usable_keys(session, folder, keys_of(config))
        key_known = name_of_key(config.keyId) in keys
        luns = _luns(session, place, devices, options)
        require_mappings(session, place.host, {stores.get(key, home) for key in luns})
        policies = _policies(session, place, config, stores, home, without=luns, key_known=key_known)
        networks = card_networks(
            session,
            session.managed(vim.HostSystem, place.host),
            devices,
            place.request.networks,
            origin=place.origin,
            same_vcenter=place.same_vcenter,
            connected=options.connect_networks,
        )
        around = Surroundings(
            datastore=home,
            disk_datastores=stores,
            luns=luns,
            networks=networks,
            taken_addresses=_taken_addresses(session, devices, networks.values(), options),
            isos=_isos(session, place, devices),
            refused=refused_settings(session, config, folder, _hosts(session, place), copied=options.new_identity),
            directories=settle_directories(session, place, config, keep=not options.new_identity),
            policies=policies.given,
            policy_notes=policies.notes,
            keys=keys,
        )
    require_for_new_vm(
        session,
        place,
        home=home,
        datastores=around.disk_datastores.values(),
        networks=[card.network.managed for card in around.networks.values()],
        when=_circumstances(config, around, drill=bool(options.drill)),
    )
    moved = tuple(_moved(place, devices, around))
    built = build(config, options, around)
    return replace(built, moved=moved, notes=(*moved, *built.notes))


def _policies(
    session: Session, place: Place, config: Any, stores: Mapping[int, str], home: str, *, without: Collection[int],
    key_known: bool,
) -> ChosenPolicies:  # fmt: skip
    """Return the storage policies of the new VM.

    :param without: device keys of the disks that are mapped to LUNs, which have no policy.
    """
    disks = disks_of(config.hardware.device)
    ordinary = [disk for disk in disks if disk.key not in without and not disk.physical_rdm]
    return choose_policies(
        session,
        place,
        {None: home, **{disk.key: stores.get(disk.key, home) for disk in ordinary}},
        {disk.key: disk.label for disk in disks},
        decrypted=config.keyId is not None and not key_known,
    )


def _moved(place: Place, devices: Iterable[Any], around: Surroundings) -> Iterator[str]:
    """Yield a note for each disk that goes to another datastore than before without anybody asking for it."""
    for disk in disks_of(devices):
        asked = place.request.datastore or place.request.disk_datastores.get(disk.key)
        if asked is None and disk.file_name:
            old = DatastorePath.parse(disk.file_name).datastore
            new = around.disk_datastores.get(disk.key, around.datastore)
            if old != new:
                why = dict(place.unusable).get(old)
                lost = f"'{decode_name(old)}' {why}" if why else f"host {place.host_name} has no '{decode_name(old)}'"
                yield f"{disk.label}: goes to datastore {decode_name(new)}, because {lost}"


def _circumstances(config: Any, around: Surroundings, *, drill: bool) -> Iterator[When]:
    """Yield the circumstances of a new VM that need rights of their own.

    Where a VM can be made otherwise without the rights, the circumstance is left out and a note says so.
    """
    if around.luns:
        yield When.RAW_MAPPING
    if around.policies:
        yield When.NEW_POLICIES
    if config.template:
        yield When.TEMPLATE
    if drill:
        yield When.DRILL


def settle(place: Place, built: BuiltSpec) -> SettledPlace:
    """Return the place of a planned VM, with the place of each of its parts."""
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
        directories=built.directories,
        policies=built.policies,
        addresses=built.addresses,
        encrypted=built.spec.crypto is not None,
    )


def _hosts(session: Session, place: Place) -> list[Any]:
    """Return every host on which the VM may be made."""
    also = place.other_hosts if place.by_vsphere else ()
    return [session.managed(vim.HostSystem, host) for host in dict.fromkeys((place.host, *also))]


def _taken_addresses(
    session: Session, devices: Iterable[Any], cards: Iterable[CardNetwork], options: SpecOptions
) -> dict[int, str]:
    if not options.keep_addresses:
        return {}
    return taken_addresses(session, devices, [card.network.managed for card in cards], gone=options.replaces)


def _home(place: Place, vmx: str) -> str:
    if place.request.datastore is not None:
        return _datastore(place, place.request.datastore)
    if not vmx:
        listed = sorted(decode_name(name) for name in place.datastores)
        if len(listed) == 1:
            return next(iter(place.datastores))
        raise UsageError(
            f"the machine was imported, so that it lies on no datastore yet: choose one with {named('datastore')}; "
            f"host {place.host_name} has {', '.join(listed) or 'none'}"
        )
    saved = DatastorePath.parse(vmx).datastore
    return saved if saved in place.datastores else _datastore(place, decode_name(saved))


def _datastore(place: Place, name: str) -> str:
    return stored_datastore(
        place,
        name,
        remedy=f": choose one of the host's for the VM with {named('datastore')}, or for one disk with "
        f"{named('disk_datastores', 'DISK=DATASTORE')}",
    )


def _with_found_luns(
    session: Session, config_xml: str | bytes, hosts: Sequence[str], options: SpecOptions
) -> SpecOptions:
    """Return the options with a free LUN for each RDM that is to get one without anybody having named it."""
    disks = disks_of(parse_config(config_xml).hardware.device)
    wishes = [
        _wish(disk)
        for disk in disks
        if (choice := options.choice(disk)) is not None
        and choice.replacement is RdmReplacement.AUTO
        and disk.key not in options.luns
    ]
    if not wishes:
        return options
    found = find_luns(session, hosts, wishes, named=options.luns.values(), gone=options.replaces)
    return replace(options, luns={**options.luns, **{key: lun.uuid for key, lun in found.items()}})


def _wish(disk: Disk) -> LunWish:
    return LunWish(key=disk.key, label=f"{disk.label} ({disk.address})", capacity=disk.capacity)


def _luns(session: Session, place: Place, devices: Iterable[Any], options: SpecOptions) -> dict[int, Lun]:
    """Return the free LUN for each raw device mapping that gets one, by the disk's device key."""
    disks = disks_of(devices)
    wanted = [disk for disk in disks if (choice := options.choice(disk)) is not None and choice.mapped]
    uses = uses_of_luns(session, place.host, gone=options.replaces) if options.luns or wanted else LunUses()
    there = list_luns(session, place.host) if options.luns or wanted else ()
    luns = {key: free_lun(there, name, uses) for key, name in options.luns.items()}
    for disk in wanted:
        if disk.key not in luns:
            raise UsageError(
                f"{disk.label}: name the free LUN that this RDM is to be mapped to with "
                f"{named('luns', f'{disk.address}=LUN')}; {free_luns(there, uses)}"
            )
    twice = [lun.device_name for lun in luns.values() if list(luns.values()).count(lun) > 1]
    if twice:
        raise UsageError(f"LUN {twice[0]} is named for two disks: each needs one of its own")
    for disk in disks:
        if disk.key in luns:
            require_room(luns[disk.key], _wish(disk))
    return luns


def _disk_datastores(place: Place, devices: Iterable[Any], home: str) -> dict[int, str]:
    """Return the datastore of each disk: the one named for it, else the one named for the VM, else its old one.

    A disk whose old datastore is not there goes beside the VM's own files.
    """
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
