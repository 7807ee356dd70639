"""Finds the differences between two points of a VM: its name and place, its guest's addresses, and its disks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.flows.fleet import ListedDisk, ListedPoint
from vmkeep.lateclass import dataclass
from vmkeep.web.words import plain, shown_size

NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that was otherwise at the earlier point."""

    what: str
    before: str
    after: str
    is_move: bool = False
    """Whether it is a move or a rename of the VM, and no change of its configuration."""

    @property
    def line(self) -> str:
        """The difference in words."""
        return f"{self.what}: {self.before} → {self.after}"


def differences(before: ListedPoint, after: ListedPoint) -> tuple[Difference, ...]:
    """Return the differences of two points, moves and renames first."""
    return (*_moves(before, after), *_guest(before, after), *_disks(before, after))


def _moves(before: ListedPoint, after: ListedPoint) -> Iterator[Difference]:
    pairs = (
        ("name", before.vm_name, after.vm_name),
        ("path in the inventory", before.inventory_path, after.inventory_path),
        ("vCenter", before.vcenter, after.vcenter),
        ("managed object id", before.moref, after.moref),
    )
    for what, old, new in pairs:
        if old and new and old != new:  # an older program recorded less, which is no move
            yield Difference(what=what, before=plain(old), after=plain(new), is_move=True)


def _guest(before: ListedPoint, after: ListedPoint) -> Iterator[Difference]:
    # A guest that was off tells no address, and nobody has taken one from it.
    if before.addresses and after.addresses and set(before.addresses) != set(after.addresses):
        old, new = (plain(", ".join(sorted(point.addresses))) for point in (before, after))
        yield Difference(what="addresses of the guest", before=old, after=new)
    if before.dns_name and after.dns_name and before.dns_name != after.dns_name:
        yield Difference(what="name of the guest", before=plain(before.dns_name), after=plain(after.dns_name))


def _disks(before: ListedPoint, after: ListedPoint) -> Iterator[Difference]:
    old, new = ({disk.key: disk for disk in point.disks} for point in (before, after))
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if was is None or now is None:
            label = plain((was or now).label)  # type: ignore[union-attr]
            yield Difference(what=label, before=_whole(was), after=_whole(now))
            continue
        for what, first, second in (
            ("size", shown_size(was.capacity), shown_size(now.capacity)),
            ("address", was.address, now.address),
            ("kind of backing", was.backing, now.backing),
            ("copied", was.skipped or "yes", now.skipped or "yes"),
        ):
            if first != second or (what == "size" and was.capacity != now.capacity):
                yield Difference(what=f"{plain(now.label)}, {what}", before=plain(first), after=plain(second))


def _whole(disk: ListedDisk | None) -> str:
    return NONE if disk is None else f"{shown_size(disk.capacity)} at {plain(disk.address)}"
