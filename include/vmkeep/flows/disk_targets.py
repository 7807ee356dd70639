"""Reads a request's own choice of disks: the disks of the point to write, and the target disk of some. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from vmkeep.errors import UsageError
from vmkeep.flows.disk_words import NamedDisks
from vmkeep.flows.restore_request import OverOptions
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.point import RestorePoint
from vmkeep.vsphere.mappings import take_apart

_DISKS = named("disks")
_MAP = named("disk_map")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTargets:
    """The disks of a point that a request chooses, and the target disks that it names."""

    chosen: frozenset[int] | None = None
    """Device keys of the disks to write; ``None``: all."""
    mapped: Mapping[int, Disk] = field(default_factory=dict)
    """Device key in the point → the disk of the existing VM. For any other disk the target is found by matching."""

    def leaves_out(self, disk: Disk) -> bool:
        """Return whether a disk of the point is not written because the request chooses others."""
        return self.chosen is not None and disk.key not in self.chosen


ALL = DiskTargets()
"""Every disk is written, and each target is found by matching."""


def read_targets(options: OverOptions, point: RestorePoint, target_disks: Sequence[Disk]) -> DiskTargets:
    """Return the choice that options make, with the names looked up in the point and on the existing VM.

    :raises NotFoundError: a name is no disk's. The message lists the disks there are.
    :raises AmbiguousError: several disks have one name.
    :raises UsageError: a chosen disk is not in the backup, or the map contradicts itself or the choice.
    """
    saved = NamedDisks(point.disks, whose="the restore point")
    chosen = _chosen(options.disks, saved, point)
    mapped = _mapped(options.disk_map, saved, target_disks)
    disks = {disk.key: disk for disk in point.disks}
    _require_copied((disks[key] for key in mapped), point, _MAP)
    if chosen is not None and (beside := [disks[key].label for key in mapped if key not in chosen]):
        raise UsageError(f"{_MAP} maps {', '.join(beside)}, which {_DISKS} does not name")
    return DiskTargets(chosen=chosen, mapped=mapped)


def _chosen(texts: Sequence[str], saved: NamedDisks, point: RestorePoint) -> frozenset[int] | None:
    if not texts:
        return None
    disks = saved.find_all(texts, what=_DISKS)
    _require_copied(disks, point, _DISKS)
    return frozenset(disk.key for disk in disks)


def _require_copied(disks: Iterable[Disk], point: RestorePoint, option: str) -> None:
    """Return if each of these disks is in the backup, because an order to write another one cannot be carried out."""
    copied = {image.disk.key for image in point.images}
    for disk in disks:
        if disk.key not in copied:
            why = disk.why_skipped or "it was not copied"
            raise UsageError(f"{option}: {disk.label} ({disk.address}) is not in the backup: {why}")


def _mapped(texts: Iterable[str], saved: NamedDisks, target_disks: Sequence[Disk]) -> dict[int, Disk]:
    targets = NamedDisks(target_disks, whose="the VM to write over")
    words = take_apart(texts, saved.words, what=_MAP, form="SAVED=TARGET", kind="disk", candidates=saved.listed)
    mapped: dict[int, Disk] = {}
    sources: dict[int, Disk] = {}
    for word, target_word in words.items():
        disk, target = saved.find(word, what=_MAP), targets.find(target_word, what=_MAP)
        if mapped.setdefault(disk.key, target).key != target.key:
            raise UsageError(f"{_MAP}: {disk.label} is mapped to {mapped[disk.key].address} and to {target.address}")
        other = sources.setdefault(target.key, disk)
        if other.key != disk.key:
            raise UsageError(f"{_MAP}: {other.label} and {disk.label} are both mapped to {target.label} on the VM")
    return mapped
