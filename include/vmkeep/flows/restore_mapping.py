"""Makes the mapping of a restore point, and joins a person's mapping with a request.

A mapping and the options of a request say the same things. Where both speak of one part, they have to agree, because
nobody should have to know which of them counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmkeep.documents import read_text
from vmkeep.errors import MappingError, UsageError
from vmkeep.flows.restore_request import RestoreRequest
from vmkeep.flows.restore_saved import SavedVm, load_saved, networks_asked, require_vm
from vmkeep.mapping import OF_THE_VM, CardLine, DiskLine, PlacedMapping, RestoreMapping, read_mapping, write_mapping
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import in_mapping, named
from vmkeep.model.rdm import RdmReplacement
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.vsphere import configspec
from vmkeep.vsphere.candidates import nearest
from vmkeep.vsphere.cards import SavedCard, saved_cards
from vmkeep.vsphere.directories import own_directories
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import parse_path

_LARGEST = 1 << 20
"""Bytes of the largest file that is taken for a mapping. One of a VM with 256 disks has less than a tenth of them."""
_OF_THE_REQUEST = {"name": "new_name", "power_on": "power_on"}
"""Fields of a mapping that are fields of the request itself, and their names there."""
_OF_THE_NEW_VM = {name: name for name in OF_THE_VM if name not in _OF_THE_REQUEST}
_FIELDS = {field: name for name, field in (_OF_THE_REQUEST | _OF_THE_NEW_VM).items()} | {
    "networks": "networks", "disk_datastores": "disks", "rdms": "disks", "luns": "disks",
}  # fmt: skip
"""Fields of a mapping that say what a field of a request says."""


def mapping_at(repository: Repository, ref: str) -> str:
    """Return the mapping of a restore point as a file.

    :param ref: ref, unique beginning of an id, or ``latest:`` with a VM's name.
    :raises UsageError: the point holds no VM.
    """
    point = repository.find_point(ref)
    require_vm(point)
    return mapping_of(load_saved(repository, point))


def read_mapping_file(path: Path) -> str:
    """Return the text of a mapping file.

    :raises MappingError: the file cannot be read, or is empty.
    """
    try:
        text = read_text(path, most=_LARGEST)
    except OSError as error:
        raise MappingError(f"mapping {path}: the file cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise MappingError(f"mapping {path}: {error}") from error
    if not text.strip():  # an empty text asks for no new VM, so that the original could be written over
        raise MappingError(f"mapping {path}: the file is empty: write it anew with 'vmkeep point show POINT --mapping'")
    return text


def mapping_of(saved: SavedVm) -> str:
    """Return the mapping of a restore point as a file, in which every value is the saved one."""
    point, config = saved.point, configspec.parse_config(saved.config)
    home = parse_path(config.files.vmPathName)
    directories = own_directories(config)
    path = point.vm.inventory_path
    return write_mapping(
        RestoreMapping(
            name=point.vm.name,
            keep_identity=True,
            connect_networks=False,
            folder=path.rpartition("/")[0] or None if path is not None else None,
            datastore=decode_name(home.datastore) if home is not None else None,
            log_directory=_as_typed(directories.log),
            suspend_directory=_as_typed(directories.suspend),
            snapshot_directory=_as_typed(directories.snapshot),
            disks=tuple(map(_disk_line, point.disks)),
            networks=tuple(map(_card_line, _cards(saved))),
        ),
        about=(
            f"Where a restore of {point.ref} makes its new VM.",
            f"The point was taken of {point.vm.in_full}.",
        ),
    )


def _as_typed(directory: str | None) -> str | None:
    """Return a datastore path with the datastore's name as people read it."""
    path = parse_path(directory or "")
    return str(path._replace(datastore=decode_name(path.datastore))) if path is not None else None


def _cards(saved: SavedVm) -> tuple[SavedCard, ...]:
    return saved_cards(configspec.parse_config(saved.config).hardware.device, saved.origin)


def _disk_line(disk: Disk) -> DiskLine:
    place, unasked = parse_path(disk.file_name), _unasked(disk)
    kind = "physical" if disk.physical_rdm else "virtual"
    lun = f", {kind} RDM of LUN {disk.device_name or disk.lun_uuid}" if unasked is not None else ""
    skipped = f", not backed up: {disk.why_skipped}" if disk.skip is not None else ""
    return DiskLine(
        disk=disk.address,
        datastore=decode_name(place.datastore) if place is not None else None,
        rdm=unasked,
        about=f"{disk.label}, {size(disk.capacity)}{lun}{skipped}",
    )


def _unasked(disk: Disk) -> str | None:
    """Return the replacement that a disk gets if nobody asks for one; ``None``: it is no RDM."""
    if disk.compatibility_mode is None:
        return None
    return (RdmReplacement.PLACEHOLDER if disk.physical_rdm else RdmReplacement.DISK).value


def _card_line(card: SavedCard) -> CardLine:
    named = card.names[0] if card.names else None
    return CardLine(
        card=card.label, network=named, about="the network's name is not known, this is its id" if card.unnamed else ""
    )


class GivenMapping:
    """A mapping that a request brings along, read and free of faults."""

    def __init__(self, text: str) -> None:
        """Read it.

        :raises MappingError: it has faults.
        """
        self._read: PlacedMapping = read_mapping(text)

    def joined(self, request: RestoreRequest) -> RestoreRequest:
        """Return a request with the mapping's values, apart from those of single disks and cards.

        :raises UsageError: an option says something else than the mapping, or the request goes over an existing VM.
        """
        if request.vm_selector is not None:
            raise UsageError(
                "a mapping says where a new VM is made, and this restore goes over an existing one: leave out "
                f"{named('mapping')}, or {named('vm')}"
            )
        plain = RestoreRequest(point=request.point, run=request.run)
        own = self._agreed(request, plain, _OF_THE_REQUEST)
        new_vm = self._agreed(request.new_vm, plain.new_vm, _OF_THE_NEW_VM)
        joined = replace(request, **own, new_vm=replace(request.new_vm, mapping="", **new_vm))
        if joined.new_name is None:
            raise UsageError(f"the mapping has no name for the new VM: add name: to it, or say {named('new_name')}")
        return joined

    def _agreed(self, asked: object, plain: object, names: Mapping[str, str]) -> dict[str, Any]:
        """Return the mapping's values for fields of options, which say nothing else about any of them."""
        found = {}
        for name, field in names.items():
            mapped, option = getattr(self._read.mapping, name), getattr(asked, field)
            if mapped is None:
                continue
            if option not in (getattr(plain, field), mapped):
                raise self._contradiction(named(field), str(option), str(mapped), name)
            found[field] = mapped
        return found

    def with_parts(self, request: RestoreRequest, saved: SavedVm) -> RestoreRequest:
        """Return a joined request with the mapping's values for the disks and cards of the saved VM.

        :raises MappingError: the saved VM has no such disk or card.
        :raises UsageError: an option says something else about one of them.
        """
        asked = request.new_vm
        new_vm = replace(
            asked,
            disk_datastores=(*asked.disk_datastores, *self._by_disk("datastore", saved)),
            rdms=(*asked.rdms, *self._by_disk("rdm", saved)),
            luns=(*asked.luns, *self._by_disk("lun", saved)),
            networks=(*asked.networks, *self._networks(asked.networks, saved)),
        )
        return replace(request, new_vm=new_vm)

    @staticmethod
    def said(message: str) -> str:
        """Return a message about a restore by a mapping that names fields of the mapping."""
        return in_mapping(message, _FIELDS)

    def _by_disk(self, field: str, saved: SavedVm) -> Iterator[str]:
        disks = {word: disk for disk in reversed(saved.point.disks) for word in (disk.label, disk.address)}
        for index, line in enumerate(self._read.mapping.disks):
            if line.disk not in disks:
                names = [disk.address for disk in saved.point.disks]
                raise self._unknown("disk", line.disk, names, disks, ("disks", index, "disk"))
            disk, value = disks[line.disk], getattr(line, field)
            if value is None or (field == "rdm" and value == _unasked(disk)):
                continue  # a field that is as it was written asks for nothing, because an option may
            if field != "datastore" and _unasked(disk) is None:
                raise MappingError(
                    f"mapping, {self._read.at('disks', index, field)}: {disk.label} ({disk.address}) is no RDM: leave "
                    f"out {field}"
                )
            yield f"{disk.address}={value}"

    def _networks(self, texts: Sequence[str], saved: SavedVm) -> Iterator[str]:
        cards, asked = {card.label: card for card in _cards(saved)}, networks_asked(texts, saved)
        for index, line in enumerate(self._read.mapping.networks):
            if line.card not in cards:
                raise self._unknown("network card", line.card, list(cards), cards, ("networks", index, "card"))
            card, new = cards[line.card], line.network
            if new is None or new in card.names[:1]:
                continue  # the saved network is found by more than its name, and without being named
            for option in (asked[name] for name in (card.label, *card.names) if name in asked):
                if option != new:
                    raise self._contradiction(named("networks"), option, new, "networks", index, "network")
            yield f"{line.card}={new}"

    def _unknown(
        self, kind: str, wanted: str, names: list[str], known: Iterable[str], path: tuple[str | int, ...]
    ) -> MappingError:
        near = nearest(wanted, known)
        there_are = f"near: {near}" if near else f"it has {', '.join(names) or 'none'}"
        return MappingError(
            f"mapping, {self._read.at(*path)}: the VM that was backed up has no {kind} '{wanted}'; {there_are}"
        )

    def _contradiction(self, option: str, asked: str, mapped: str, *path: str | int) -> UsageError:
        return UsageError(
            f"{option} says '{asked}', and the mapping ({self._read.at(*path)}) says '{mapped}': leave one of them out"
        )
