"""Reads the saved VM from a restore point, and applies the options of a new VM to its cards, networks and disks.

The options name these parts as a person knows them. The saved VM tells which part each name means.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmkeep.errors import CorruptError, UsageError
from vmkeep.flows.disk_words import NamedDisks
from vmkeep.flows.restore_request import NewVmOptions
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.job import from_json
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import RestorePoint
from vmkeep.model.rdm import RdmChoice, RdmReplacement, rdm_choice
from vmkeep.model.references import ATTACHMENT, NONE_KEPT, References
from vmkeep.repository import Repository
from vmkeep.vsphere import claims, configspec, create
from vmkeep.vsphere.cards import Origin, SavedCard, saved_cards
from vmkeep.vsphere.mappings import take_apart

_NETWORK, _STORE = named("networks"), named("disk_datastores")
_LUN, _RDM = named("luns"), named("rdms")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedVm:
    """A VM as a restore point holds it."""

    point: RestorePoint
    config: str
    """Text of ``config.xml``: vSphere's ``VirtualMachineConfigInfo`` as pyVmomi serialises it."""
    origin: Origin
    """The server that gave out the ids in the configuration, and the names behind these ids."""
    notes: tuple[str, ...] = ()
    """One sentence for each kept document that could not be read, and for each part that an import left out."""


def require_vm(point: RestorePoint) -> None:
    """Return if a point holds a VM that can be restored.

    :raises UsageError: it holds a host's configuration, or an imported image.
    """
    if point.host is not None:
        raise UsageError(
            f"{point.ref} holds the configuration of the ESXi host {point.vm.name}, and no VM: get its bundle by "
            "'vmkeep host export'"
        )
    if "config.xml" not in point.attachments:
        raise UsageError(
            f"{point.ref} holds no config.xml, because nothing of its machine was told at its import: use "
            "'vmkeep image export', or import it again with --guest-id, --cpus, --memory or --firmware"
        )


def load_saved(repository: Repository, point: RestorePoint) -> SavedVm:
    """Load the configuration of a point's VM, and the kept names of the networks and policies in it.

    A VM can be made without these names, so that damaged names are only noted.
    """
    references = NONE_KEPT
    notes = point.warnings if point.vm.is_imported else ()
    if ATTACHMENT in point.attachments:
        try:
            references = from_json(References, repository.load_attachment(point, ATTACHMENT))
        except (CorruptError, ValueError) as error:
            lost = "the names of the saved VM's networks, storage policies and custom attributes are not known"
            notes = (*notes, f"{lost}, because {ATTACHMENT} is damaged: {error}")
    return SavedVm(
        point=point,
        config=repository.load_attachment(point, "config.xml").decode(),
        origin=Origin(vcenter=point.vm.vcenter, references=references),
        notes=notes,
    )


def request_place(options: NewVmOptions, saved: SavedVm) -> create.PlaceRequest:
    """Return the places that the options name for a new VM and its parts.

    :raises NotFoundError: the saved VM has no such network card, network or disk. The message lists those it has.
    """
    return create.PlaceRequest(
        datastore=options.datastore,
        folder=options.folder,
        resource_pool=options.resource_pool,
        host=options.host,
        networks=networks_asked(options.networks, saved),
        disk_datastores=_by_disk(_STORE, options.disk_datastores, saved.point.disks, value="DATASTORE"),
        log_directory=options.log_directory,
        suspend_directory=options.suspend_directory,
        snapshot_directory=options.snapshot_directory,
    )


def spec_options(
    options: NewVmOptions,
    saved: SavedVm,
    name: str,
    *,
    connect: bool,
    settled: SettledPlace | None = None,
    claim: claims.VmClaim | None = None,
) -> configspec.SpecOptions:
    """Return the differences between the new VM and the saved one.

    :param connect: the network cards are connected as they were saved; else they start disconnected.
    :param settled: the place that was planned. Its LUNs are taken, so that none is looked for again.
    """
    planned = dict(settled.luns) if settled is not None else {}
    return configspec.SpecOptions(
        name=name,
        new_identity=not options.keep_identity,
        keep_addresses=options.keeps_addresses,
        version=options.hardware_version,
        physical_rdm=options.physical_rdm,
        rdms=_words_asked(options, saved.point.disks),
        luns=luns_asked(options, saved.point.disks)
        | {disk.key: planned[disk.address] for disk in saved.point.disks if disk.address in planned},
        connect_networks=connect,
        copied=frozenset(image.disk.key for image in saved.point.images),
        claim=claim,
        drill=options.drill,
    )


def rdms_asked(options: NewVmOptions, disks: Sequence[Disk]) -> dict[int, RdmChoice]:
    """Return the replacement of each RDM, by device key: the one asked for, else a virtual RDM becomes a disk.

    :raises UsageError: a replacement is not known.
    """
    words = _words_asked(options, disks)
    usual = {True: options.physical_rdm, False: RdmReplacement.DISK.value}
    return {disk.key: rdm_choice(words.get(disk.key, usual[disk.physical_rdm])) for disk in _rdms(disks)}


def luns_asked(options: NewVmOptions, disks: Sequence[Disk]) -> dict[int, str]:
    """Return the LUN that is named for each RDM, by device key.

    :raises UsageError: a disk with a LUN is to become something else.
    """
    luns, words = _by_disk(_LUN, options.luns, _rdms(disks), value="LUN", kind="RDM"), _words_asked(options, disks)
    for disk in disks:
        word = words.get(disk.key)
        if word is not None and disk.key in luns and rdm_choice(word).replacement is not RdmReplacement.LUN:
            raise UsageError(
                f"{disk.label} ({disk.address}) is to become '{word}' by {_RDM}, and LUN {luns[disk.key]} is "
                f"named for it by {_LUN}: leave one of them out"
            )
    return luns


def _words_asked(options: NewVmOptions, disks: Sequence[Disk]) -> dict[int, str]:
    asked = _by_disk(_RDM, options.rdms, _rdms(disks), value="REPLACEMENT", kind="RDM")
    for word in (options.physical_rdm, *asked.values()):
        rdm_choice(word)
    return asked


def _rdms(disks: Sequence[Disk]) -> list[Disk]:
    return [disk for disk in disks if disk.compatibility_mode is not None]


def networks_asked(texts: Iterable[str], saved: SavedVm) -> dict[str, str]:
    """Parse ``--network`` options. Return the network for each label of a card, and each name of a saved network."""
    cards = saved_cards(configspec.parse_config(saved.config).hardware.device, saved.origin)
    listed = ", ".join(f"{card.label} on {card.network}" for card in cards) or "no network card"
    known = {name for card in cards for name in (card.label, *card.names)}
    mapped = take_apart(
        texts, known, what=_NETWORK, form="OLD=NEW", kind="network or network card", candidates=f"it has {listed}"
    )
    _refuse_double_meaning(mapped, cards)
    return mapped


def _refuse_double_meaning(mapped: Iterable[str], cards: Iterable[SavedCard]) -> None:
    for old in mapped:
        labels = {card.label for card in cards}
        on_it = [card.label for card in cards if old in card.names and card.label != old]
        if old in labels and on_it:
            raise UsageError(
                f"{_NETWORK} '{old}': a card has that label, and {', '.join(on_it)} is on a network of that name"
            )


def _by_disk(
    option: str, texts: Iterable[str], disks: Iterable[Disk], *, value: str, kind: str = "disk"
) -> dict[int, str]:
    """Parse ``DISK=…`` options. A disk is named by its address, its label or its device key.

    :returns: the value for each disk, by device key.
    :raises AmbiguousError: several disks have one name.
    """
    named = NamedDisks(disks, whose="the restore point", kind=kind)
    mapped = take_apart(texts, named.words, what=option, form=f"DISK={value}", kind=kind, candidates=named.listed)
    chosen: dict[int, str] = {}
    for word, new in mapped.items():
        disk = named.find(word, what=option)
        if chosen.setdefault(disk.key, new) != new:
            raise UsageError(f"{option}: {disk.label} is mapped to '{chosen[disk.key]}' and to '{new}'")
    return chosen
