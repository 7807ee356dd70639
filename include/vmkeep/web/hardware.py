"""The page of a VM's hardware at two points, as the points' saved configurations tell it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from vmkeep.flows.fleet import ListedPoint
from vmkeep.lateclass import dataclass
from vmkeep.model.portable import PortableCard, PortableDisk, PortableMachine
from vmkeep.web.differences import NONE, Difference
from vmkeep.web.words import Moment, moment, plain, shown_size


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwarePage:
    """Everything on the page."""

    name: str
    vm_key: str
    before: Moment
    after: Moment
    differences: tuple[Difference, ...]


def hardware_page(
    before: tuple[ListedPoint, PortableMachine], after: tuple[ListedPoint, PortableMachine], *, now: datetime
) -> HardwarePage:
    """Return the page of two points, each with its machine."""
    first, second = (moment(point.taken_at, now) for point, _ in (before, after))
    assert first is not None
    assert second is not None
    return HardwarePage(
        name=plain(after[0].vm_name),
        vm_key=after[0].vm_key,
        before=first,
        after=second,
        differences=tuple(_differences(before[1], after[1])),
    )


def _differences(before: PortableMachine, after: PortableMachine) -> Iterator[Difference]:
    old, new = _facts(before), _facts(after)
    for what in dict.fromkeys((*old, *new)):
        was, now = old.get(what, NONE), new.get(what, NONE)
        if was != now:
            yield Difference(what=what, before=was, after=now)


def _facts(machine: PortableMachine) -> dict[str, str]:
    """Return everything that is compared, in words, by its name."""
    facts = {
        "CPUs": f"{machine.cpus} in sockets of {machine.cores_per_socket}",
        "memory": f"{shown_size(machine.memory_mib << 20)} ({machine.memory_mib:,} MiB)",
        "firmware": f"{machine.firmware.value}{', secure boot' if machine.secure_boot else ''}",
        "guest system": plain(machine.guest_name or machine.guest_id),
        "virtual hardware": str(machine.hardware_version or "not known"),
        "notes": plain(machine.annotation) or NONE,
        **{plain(card.label): _card(card) for card in machine.cards},
        **{plain(disk.label): _disk(disk) for disk in machine.disks},
    }
    return facts | {plain(each.part): plain(each.why) for each in machine.left_out if plain(each.part) not in facts}


def _card(card: PortableCard) -> str:
    link = "" if card.connected else ", not connected"
    return plain(f"{card.model} {card.mac or 'without an address'} on {card.network or 'an unknown network'}{link}")


def _disk(disk: PortableDisk) -> str:
    return plain(
        f"{shown_size(disk.capacity)} ({disk.capacity:,} bytes) at {disk.controller_type} {disk.bus}:{disk.unit}"
    )
