"""Builds the ConfigSpec that creates a saved VM again, from its VirtualMachineConfigInfo. Pure: XML in, spec out.

Most settings are taken over. Settings that belong to the old VM's files, host or identity are left out, and a note says
so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import field
from typing import Any

from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.rdm import RdmChoice
from vmkeep.model.references import NamedPolicy
from vmkeep.vsphere.addresses import settled_addresses
from vmkeep.vsphere.advancedsettings import kept_settings
from vmkeep.vsphere.api import deserialize, vim
from vmkeep.vsphere.barespec import bare_spec
from vmkeep.vsphere.cards import CardNetwork
from vmkeep.vsphere.claims import DRILL, VmClaim
from vmkeep.vsphere.configtable import lost_members
from vmkeep.vsphere.directories import Directories
from vmkeep.vsphere.disks import KeyName, disks_of, key_of, name_of_key
from vmkeep.vsphere.lowering import lost_by_lowering
from vmkeep.vsphere.luns import Lun
from vmkeep.vsphere.names import encode_name
from vmkeep.vsphere.placedsettings import place_settings
from vmkeep.vsphere.specdevices import DeviceRules, device_changes, new_disks
from vmkeep.vsphere.specdisks import DiskRules
from vmkeep.vsphere.vmsettings import options_for

OWN_FILES = "the VM's own files"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecOptions:
    """The user's decisions about the new VM."""

    name: str
    new_identity: bool = True
    """The VM gets new UUIDs, so that it can run beside the original."""
    keep_addresses: bool = False
    """The network cards keep their MAC addresses, as far as these are free."""
    version: str | None = None
    """The hardware version to lower the VM to, e.g. ``vmx-19``; ``None``: it keeps its own."""
    physical_rdm: str = "placeholder"
    """The replacement of the physical-mode RDMs, a word of :mod:`vmkeep.model.rdm`."""
    rdms: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → the replacement of that RDM, such a word."""
    luns: Mapping[int, str] = field(default_factory=dict)
    """Device key in the saved configuration → canonical name or UUID of the free LUN to map it to."""
    connect_networks: bool = True
    """Network cards are connected as they were saved; else all start disconnected."""
    copied: Collection[int] = ()
    """Device keys of the disks that the restore point holds."""
    claim: VmClaim | None = None
    """The claim of the run that makes the VM. It stays on the VM until the run has finished."""
    replaces: str | None = None
    """Managed object id of the half-made VM that is removed before the new one is made; ``None``: there is none."""
    drill: str = ""
    """The mark of the drill that the VM is made for; empty: it is made to stay."""

    def choice(self, disk: Disk) -> RdmChoice | None:
        """Return the replacement of a saved disk; ``None``: it is no RDM."""
        if disk.compatibility_mode is None:
            return None
        return DiskRules(physical_rdm=self.physical_rdm, rdms=self.rdms).choice(disk.key, physical=disk.physical_rdm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Facts about the new VM's place, which :mod:`vmkeep.vsphere.fitting` finds out."""

    datastore: str
    """Name of the datastore for the VM's own files."""
    disk_datastores: Mapping[int, str] = field(default_factory=dict)
    luns: Mapping[int, Lun] = field(default_factory=dict)
    networks: Mapping[int, CardNetwork] = field(default_factory=dict)
    """The network of each card, by the card's device key in the saved configuration."""
    taken_addresses: Mapping[int, str] = field(default_factory=dict)
    """The VM that has a card's MAC address already, by the card's device key in the saved configuration."""
    isos: frozenset[str] = frozenset()
    """ISO files that exist there, as datastore paths."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Saved settings that a new VM cannot have there, each with the reason (:mod:`vmkeep.vsphere.placedsettings`)."""
    directories: Directories = field(default_factory=Directories)
    """The new VM's directories outside of its own folder."""
    policies: Mapping[int | None, NamedPolicy] = field(default_factory=dict)
    """The storage policy, as it is called there, of each disk by its device key; ``None``: of the VM's own files."""
    policy_notes: tuple[str, ...] = ()
    """One sentence for each storage policy that cannot be applied."""
    keys: Collection[KeyName] = ()
    """The keys of the saved VM and its disks that can be used there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltSpec:
    """A ConfigSpec, and its differences from the saved VM."""

    spec: Any
    notes: tuple[str, ...]
    """The differences from the saved VM, one sentence each."""
    datastore: str
    """Name of the datastore for the VM's own files."""
    disks: tuple[tuple[str, str], ...]
    """Address of each saved disk, and the datastore of the new disk."""
    new_disks: tuple[Disk, ...]
    """The disks that the spec creates, also those that are empty, and raw device mappings."""
    networks: tuple[tuple[str, str], ...]
    """Label of each network card, and its network."""
    unconnected: tuple[str, ...] = ()
    """Labels of network cards that start disconnected, though they were saved connected or because a person said so."""
    held_back: tuple[str, ...] = ()
    """Labels of network cards that would be connected if the original were not running."""
    network_ids: tuple[str, ...] = ()
    """Managed object ids of these networks."""
    mapped: tuple[tuple[str, Lun], ...] = ()
    """Address of each raw device mapping, and its LUN."""
    policies: tuple[tuple[str, str], ...] = ()
    """Words for each part with a storage policy, and the policy's name."""
    addresses: tuple[tuple[str, str], ...] = ()
    """Label of each network card, and the MAC address that it keeps; empty: it gets a new one."""
    directories: tuple[tuple[str, str], ...] = ()
    """Words for each directory outside of the VM's own folder, and its datastore path."""
    moved: tuple[str, ...] = ()
    """One sentence for each disk that goes to another datastore, because its old one is not there."""
    template: bool
    """The saved VM was a template. The new VM becomes one after all disks are written."""
    reads_nvram: bool
    """The new VM can read the saved VM's NVRAM."""
    efi: bool
    """The VM boots by EFI, which keeps its boot entries in the NVRAM."""

    @property
    def luns(self) -> tuple[tuple[str, str], ...]:
        """Address of each raw device mapping, and the canonical name of its LUN."""
        return tuple((address, lun.device_name) for address, lun in self.mapped)


def parse_config(xml: str | bytes) -> Any:
    """Parse a saved VirtualMachineConfigInfo.

    :raises CorruptError: the text is none, or is incomplete.
    """
    try:
        config = deserialize(xml.encode() if isinstance(xml, str) else xml, vim.vm.ConfigInfo)
    except Exception as error:  # noqa: BLE001 - expat and pyVmomi raise whatever they meet
        raise CorruptError(f"the saved VM configuration cannot be read: {error}") from None
    if not isinstance(config, vim.vm.ConfigInfo) or config.hardware is None or config.files is None:
        raise CorruptError("the saved VM configuration is incomplete")
    return config


def keys_of(config: Any) -> list[Any]:
    """Return the keys with which a saved VM and its disks are encrypted; ``None`` for what is not."""
    disks = (device for device in config.hardware.device if isinstance(device, vim.vm.device.VirtualDisk))
    return [config.keyId, *(key_of(disk.backing) for disk in disks)]


def build(config: Any, options: SpecOptions, around: Surroundings) -> BuiltSpec:
    """Return the spec for ``CreateVM_Task``, and the differences from the saved VM."""
    encrypted = name_of_key(config.keyId) in around.keys
    version = options.version or config.version
    networks = around.networks.values()
    saved_disks = disks_of(config.hardware.device)
    devices = device_changes(config.hardware.device, _device_rules(config, options, around, encrypted=encrypted))
    settings, lost_settings = kept_settings(config.extraConfig, devices.renumbered, encrypted=encrypted)
    spec = bare_spec(config, version)
    _place(spec, options, around)
    spec.deviceChange = list(devices.changes)
    spec.extraConfig = [*settings, *options_for(_marks(options))]
    if encrypted:
        spec.crypto = vim.encryption.CryptoSpecEncrypt(cryptoKeyId=config.keyId)
    notes = (
        *(network.note for network in networks if network.note),
        *devices.notes,
        *_identity(spec, config, options),
        *place_settings(spec, config, around.refused),
        *around.directories.notes,
        *around.policy_notes,
        *lost_members(config),
        *lost_by_lowering(config, version),
        *_lost_boot_devices(config, devices.made),
        *lost_settings,
        *_unencrypted(config, encrypted=encrypted),
    )
    return BuiltSpec(
        spec=spec,
        notes=notes,
        datastore=around.datastore,
        disks=tuple((disk.address, around.disk_datastores.get(disk.key, around.datastore)) for disk in saved_disks),
        new_disks=new_disks(config.hardware.device, devices.changes),
        networks=tuple((network.label, network.network.shown) for network in networks),
        network_ids=tuple(network.network.moref for network in networks),
        unconnected=tuple(network.label for network in networks if not network.connected),
        held_back=tuple(network.label for network in networks if network.held_back),
        mapped=tuple((disk.address, around.luns[disk.key]) for disk in saved_disks if disk.key in around.luns),
        policies=tuple(_policy_words(config, around)),
        addresses=settled_addresses(config.hardware.device, devices.made),
        directories=around.directories.settled,
        template=bool(config.template),
        reads_nvram=config.keyId is None or encrypted,
        efi=config.firmware == "efi",
    )


def _device_rules(config: Any, options: SpecOptions, around: Surroundings, *, encrypted: bool) -> DeviceRules:
    disks = DiskRules(
        physical_rdm=options.physical_rdm,
        rdms=options.rdms,
        datastores=around.disk_datastores,
        luns=around.luns,
        policies={key: policy.id for key, policy in around.policies.items() if key is not None},
        key=config.keyId if encrypted else None,
        keys=around.keys,
        copied=options.copied,
    )
    return DeviceRules(
        keep_addresses=options.keep_addresses,
        taken_addresses=around.taken_addresses,
        disks=disks,
        networks=around.networks,
        isos=around.isos,
    )


def _place(spec: Any, options: SpecOptions, around: Surroundings) -> None:
    """Set the name of the new VM, and the places and the policy of its own files."""
    spec.name = encode_name(options.name)
    if None in around.policies:
        spec.vmProfile = [vim.vm.DefinedProfileSpec(profileId=around.policies[None].id)]
    spec.files = vim.vm.FileInfo(
        vmPathName=f"[{around.datastore}]",
        logDirectory=around.directories.log,
        suspendDirectory=around.directories.suspend,
        snapshotDirectory=around.directories.snapshot,
    )


def _marks(options: SpecOptions) -> dict[str, str]:
    """Return the advanced settings by which the new VM tells the run or the drill that made it."""
    claimed = options.claim.settings if options.claim else {}
    return {**claimed, **({DRILL: options.drill} if options.drill else {})}


def _policy_words(config: Any, around: Surroundings) -> Iterator[tuple[str, str]]:
    labels = {disk.key: disk.label for disk in disks_of(config.hardware.device)}
    for key, policy in around.policies.items():
        yield OWN_FILES if key is None else labels.get(key, f"disk {key}"), policy.name


def _identity(spec: Any, config: Any, options: SpecOptions) -> Iterator[str]:
    """Set the UUIDs of the saved VM, if the new VM is to keep its identity."""
    named = bool(config.npivNodeWorldWideName or config.npivPortWorldWideName)
    if options.new_identity:
        if named:
            yield "not taken over: NPIV world wide names, which only one VM may use"
        return
    spec.uuid, spec.instanceUuid, spec.locationId = config.uuid, config.instanceUuid, config.locationId
    if named:
        spec.npivWorldWideNameOp = "set"
        spec.npivNodeWorldWideName = list(config.npivNodeWorldWideName)
        spec.npivPortWorldWideName = list(config.npivPortWorldWideName)


def _lost_boot_devices(config: Any, made: Collection[int]) -> Iterator[str]:
    labels = {device.key: device.deviceInfo.label for device in config.hardware.device if device.deviceInfo is not None}
    for item in config.bootOptions.bootOrder if config.bootOptions is not None else ():
        if (key := getattr(item, "deviceKey", None)) is not None and key not in made:
            yield f"boot order: without {labels.get(key, f'device {key}')}, which the new VM does not have"


def _unencrypted(config: Any, *, encrypted: bool) -> Iterator[str]:
    if config.keyId is not None and not encrypted:
        provider = config.keyId.providerId.id if config.keyId.providerId is not None else "unknown"
        yield (
            f"not taken over: encryption, because key {config.keyId.keyId} of key provider {provider} cannot be used "
            "here: the new VM and its disks are not encrypted"
        )
