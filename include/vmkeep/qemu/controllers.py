"""Gives each disk a controller that the guest knows, at the address that it had.

QEMU has the likeness of some of vSphere's controllers: PVSCSI, LSI Logic SAS, NVMe, AHCI and IDE. It has none of LSI
Logic Parallel and BusLogic. Their disks go to AHCI, because more systems bring its driver than that of any other card.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final

from vmkeep.errors import UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.model.portable import PortableDisk


class Card(StrEnum):
    """A kind of controller in QEMU."""

    PVSCSI = "pvscsi"
    LSI_SAS = "lsi-sas"
    SATA = "sata"
    NVME = "nvme"
    IDE = "ide"
    VIRTIO = "virtio"


_LIKENESS: Final[Mapping[str, Card]] = {
    "ParaVirtualSCSIController": Card.PVSCSI,
    "VirtualLsiLogicSASController": Card.LSI_SAS,
    "VirtualAHCIController": Card.SATA,
    "VirtualNVMEController": Card.NVME,
    "VirtualIDEController": Card.IDE,
}
_DEVICE: Final[Mapping[Card, str]] = {
    Card.PVSCSI: "pvscsi",
    Card.LSI_SAS: "mptsas1068",
    Card.SATA: "ich9-ahci",
    Card.NVME: "nvme",
    Card.VIRTIO: "virtio-scsi-pci",
}
_PLACES: Final[Mapping[Card, int]] = {
    Card.PVSCSI: 64,
    Card.LSI_SAS: 8,
    Card.SATA: 6,
    Card.NVME: 64,
    Card.IDE: 4,
    Card.VIRTIO: 64,
}
"""Disks that one controller takes."""
_MOST_CARDS: Final = 24
"""Slots for controllers on the machine's PCI bus, which has 32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A disk at its place in QEMU's machine."""

    disk: PortableDisk
    card: Card
    number: int
    """Number of the controller among those of its kind."""
    place: int


def place_disks(disks: Iterable[PortableDisk], card: Card | None) -> tuple[Placed, ...]:
    """Return the place of each disk.

    :param card: the kind of controller for all disks; ``None``: the one that each disk had.
    :raises UnsupportedError: there are more disks than one machine of QEMU takes.
    """
    buses: dict[tuple[Card, str, int], list[PortableDisk]] = {}
    for disk in sorted(disks, key=lambda disk: (disk.controller, disk.bus, disk.unit)):
        kind = card or _LIKENESS.get(disk.controller_type, Card.SATA)
        bus = ("", 0) if card or kind is Card.IDE else (disk.controller_type, disk.bus)
        buses.setdefault((kind, *bus), []).append(disk)
    placed: list[Placed] = []
    used: dict[Card, int] = {}
    for (kind, _, _), neighbours in buses.items():
        first = used.get(kind, 0)
        places = _places(kind, neighbours, dense=card is not None)
        for disk, at in zip(neighbours, places, strict=True):
            number, place = divmod(at, _PLACES[kind])
            placed.append(Placed(disk=disk, card=kind, number=first + number, place=place))
        used[kind] = first + max(places) // _PLACES[kind] + 1
    if used.get(Card.IDE, 0) > 1:
        raise UnsupportedError("QEMU's machine has room for 4 IDE disks: choose another controller, e.g. sata")
    if sum(used.values()) > _MOST_CARDS:
        raise UnsupportedError(
            f"{len(placed)} disks need {sum(used.values())} controllers, and {_MOST_CARDS} fit: choose virtio or nvme, "
            "or fewer disks"
        )
    return tuple(placed)


def _places(kind: Card, disks: Sequence[PortableDisk], *, dense: bool) -> list[int]:
    """Return the places of a bus's disks: as they were, or without gaps where addresses of several buses mix."""
    units = [disk.bus * 2 + disk.unit if kind is Card.IDE else disk.unit for disk in disks]
    if dense or len(set(units)) < len(units):
        return list(range(len(disks)))
    return units


def strangers(placed: Iterable[Placed]) -> Iterator[str]:
    """Yield the sentences about controllers that QEMU has no likeness of."""
    unlike = {p.disk.controller_type: p.card for p in placed if p.disk.controller_type not in _LIKENESS}
    for kind, card in sorted(unlike.items()):
        yield (
            f"QEMU has no {kind}: its disks are at {card.upper()}; if the guest does not find them, try --controller "
            "ide, lsi-sas or virtio"
        )


def controller_arguments(placed: Iterable[Placed]) -> Iterator[str]:
    """Yield QEMU's arguments for the controllers."""
    for card, number in sorted({(p.card, p.number) for p in placed}):
        if card is Card.IDE:
            continue  # because the machine has it anyway
        serial = f",serial=vmkeep{number}" if card is Card.NVME else ""
        yield from ("-device", f"{_DEVICE[card]},id={_id(card, number)}{serial}")


def disk_arguments(placed: Placed, node: str, *, boot_index: int) -> Iterator[str]:
    """Yield QEMU's arguments for a disk.

    :param node: name of QEMU's block node that holds its data.
    :param boot_index: place of the disk in the order in which the firmware tries them, from 1.
    """
    card = _id(placed.card, placed.number)
    device = {
        Card.SATA: f"ide-hd,bus={card}.{placed.place}",
        Card.IDE: f"ide-hd,bus=ide.{placed.place // 2},unit={placed.place % 2}",
        Card.NVME: f"nvme-ns,bus={card},nsid={placed.place + 1}",
    }.get(placed.card, f"scsi-hd,bus={card}.0,scsi-id={placed.place}")
    yield from ("-device", f"{device},drive={node},bootindex={boot_index}")


def _id(card: Card, number: int) -> str:
    return f"{card.replace('-', '')}{number}"
