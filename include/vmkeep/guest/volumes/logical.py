"""Logical volumes as disks: linear, striped, mirrored and thin ones, over as many disks as they have.

Anything else is refused by name. A volume is whole or refused, too: one of which a physical volume is missing is never
read with gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Final

from vmkeep.errors import CorruptError, UnsupportedError
from vmkeep.guest.lvm import Area, LogicalVolume, Segment, VolumeGroup
from vmkeep.guest.volumes.parts import JoinedDisk, Part, StripedDisk
from vmkeep.guest.volumes.raid1 import LegState, choose_leg, read_state
from vmkeep.guest.volumes.thin import ThinDisk, ThinPool
from vmkeep.guest.volumes.volume import printable
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

_DEEPEST: Final = 16
"""Logical volumes that lie in one another; LVM itself has no more than about seven."""
_HARMLESS: Final = frozenset({"ERROR_WHEN_FULL", "CROP_METADATA"})
"""Flags of kinds of segments that change nothing for who reads."""
_STRIPED: Final = ("striped", "raid0", "raid0_meta")
_NAMES: Final = {
    "snapshot": "a snapshot of LVM's old kind",
    "cache": "a cached volume",
    "cache-pool": "a pool of a cache",
    "writecache": "a volume with a write cache",
    "vdo": "a compressed and deduplicated volume (VDO)",
    "vdo-pool": "a pool of VDO",
    "integrity": "a volume with checksums of dm-integrity",
    "error": "a volume in which reading fails by intent",
    "thin-pool": "a pool of thin volumes",
}
_THERE: Final = "restore the VM and read it there"


@dataclass(frozen=True, slots=True)
class MappedVolume:
    """A logical volume as a disk."""

    disk: RandomDisk
    notes: tuple[str, ...]
    """Sentences about how it is read, e.g. which leg of a mirror."""


@dataclass(slots=True)
class _Opening:
    """A logical volume that is being opened: its name for errors, those around it, and what is to be said."""

    what: str
    inside: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    opened: dict[str, RandomDisk] = field(default_factory=dict)
    """Volumes below it that are open, because a hostile group may name one of them again and again."""

    def enter(self, name: str) -> _Opening:
        """Return the opening of a volume in this one.

        :raises CorruptError: it is around itself.
        """
        if name in self.inside or len(self.inside) >= _DEEPEST:
            raise CorruptError(f"{self.what}: the logical volume {name} lies in itself, by the metadata of LVM")
        return _Opening(self.what, (*self.inside, name), self.notes, self.opened)


class GroupDisks:
    """The logical volumes of one volume group as disks."""

    def __init__(
        self, group: VolumeGroup, physical: Mapping[str, RandomDisk], *, name: str, absent: Mapping[str, str]
    ) -> None:
        """Take the physical volumes that are there.

        :param physical: disk or partition by the UUID of the physical volume.
        :param name: the group's name in errors.
        :param absent: what is known of a physical volume that is not there, by its UUID.
        """
        self._group = group
        self._absent = absent
        self._name = name
        self._physical = physical
        self._volumes = {volume.name: volume for volume in group.logical_volumes}
        self._sources = {volume.name: volume for volume in group.physical_volumes}
        self._stores: dict[str, str] = {}
        """Origin by the name of the snapshot's store, because that store looks like a volume of its own."""
        self._merging: set[str] = set()
        """Volumes into which a snapshot is being merged."""
        for volume in group.logical_volumes:
            for segment in volume.segments:
                if segment.kind == "snapshot":
                    self._stores[segment.cow_store] = segment.origin
                    if segment.merging_store:
                        self._merging.add(segment.origin)
                        self._stores[segment.merging_store] = segment.origin

    def open(self, volume: LogicalVolume) -> MappedVolume:
        """Return a volume as a disk.

        :raises UnsupportedError: it cannot be read; the message says why, and the way out.
        :raises CorruptError: the metadata contradict themselves, or a block of them is damaged.
        """
        opening = _Opening(f"{self._name}/{printable(volume.name)}")
        disk = self._open(volume.name, opening)
        return MappedVolume(disk, tuple(opening.notes))

    def _open(self, name: str, around: _Opening) -> RandomDisk:
        if name not in around.opened:
            around.opened[name] = self._open_anew(name, around.enter(name))
        return around.opened[name]

    def _open_anew(self, name: str, opening: _Opening) -> RandomDisk:
        volume = self._volumes.get(name)
        if volume is None:
            raise CorruptError(f"{opening.what}: the logical volume {name} is not there, by the metadata of LVM")
        if name in self._stores:
            raise self._refused(opening, f"is a snapshot of {self._stores[name]}, of LVM's old kind")
        if name in self._merging:
            raise self._refused(opening, "is being taken back to a snapshot")
        parts, at = [], 0
        for segment in volume.segments:
            if segment.start_extent != at or not segment.extent_count:
                raise CorruptError(f"{opening.what}: the segments of {name} have a gap at extent {at}")
            at += segment.extent_count
            parts.append(self._part(segment, opening))
        return parts[0].disk if len(parts) == 1 and parts[0].disk else JoinedDisk(parts, what=opening.what)

    def _part(self, segment: Segment, opening: _Opening) -> Part:
        """Return a segment as a part of its volume."""
        length = self._bytes(segment.extent_count)
        unknown = [flag for flag in segment.kind_flags if flag not in _HARMLESS]
        if unknown:
            raise self._refused(opening, f"has a segment of the kind {segment.kind} with the flag {unknown[0]}")
        if segment.kind == "zero":
            return Part(None, 0, length)
        if segment.kind in _STRIPED and segment.areas:
            disk = self._striped(segment, opening)
        elif segment.kind in ("mirror", "raid1") and segment.areas:
            disk = self._mirror(segment, opening)
        elif segment.kind == "thin":
            disk = self._thin(segment, opening)
        else:
            raise self._refused(opening, f"is {_NAMES.get(segment.kind, f'of the kind {segment.kind}')}")
        return Part(disk, 0, length)

    def _striped(self, segment: Segment, opening: _Opening) -> RandomDisk:
        count = len(segment.areas)
        each, rest = divmod(segment.extent_count, count)
        if rest:
            raise CorruptError(f"{opening.what}: {segment.extent_count} extents are not {count} equal stripes")
        areas = [self._area(area, each, opening) for area in segment.areas]
        if count == 1:
            return areas[0]
        if not segment.stripe_size or self._group.extent_size % segment.stripe_size:
            raise CorruptError(f"{opening.what}: a stripe has {segment.stripe_size} bytes")
        return StripedDisk(areas, stripe=segment.stripe_size, what=opening.what)

    def _mirror(self, segment: Segment, opening: _Opening) -> RandomDisk:
        legs: dict[int, RandomDisk] = {}
        missing: UnsupportedError | None = None
        for number, area in enumerate(segment.areas):
            try:
                legs[number] = self._area(area, segment.extent_count, opening)
            except UnsupportedError as error:
                missing = error
        if not legs and missing is not None:
            raise missing
        chosen = choose_leg({number: self._leg_state(segment, number, opening) for number in legs})
        if chosen is None:
            raise self._refused(opening, "is a mirror of which no leg on these disks is up to date")
        if segment.kind == "mirror" and chosen:
            doubt = ", which may lag behind in places, because the first one is not there"
        else:
            doubt = "" if len(legs) == len(segment.areas) else "; not all legs are there"
        opening.notes.append(f"read from leg {chosen + 1} of {len(segment.areas)} of its mirror{doubt}")
        return legs[chosen]

    def _leg_state(self, segment: Segment, number: int, opening: _Opening) -> LegState | None:
        if number >= len(segment.metadata_areas):
            return None
        name = segment.metadata_areas[number].lv
        return read_state(self._open(name, opening))

    def _thin(self, segment: Segment, opening: _Opening) -> RandomDisk:
        holder = self._volumes.get(segment.pool)
        described = holder.segments[0] if holder is not None and holder.segments else None
        if described is None or described.kind != "thin-pool" or segment.device_id is None:
            raise CorruptError(f"{opening.what}: its thin pool {segment.pool!r} is none, by the metadata of LVM")
        within = opening.enter(segment.pool)
        pool = ThinPool(
            self._open(described.metadata, within),
            self._open(described.pool, within),
            what=f"{self._name}/{printable(segment.pool)}",
        )
        if pool.chunk != described.chunk_size:
            raise CorruptError(
                f"{opening.what}: the pool's blocks have {pool.chunk} bytes, and LVM says {described.chunk_size}"
            )
        if pool.needs_check:
            opening.notes.append("the guest found its thin pool damaged and has not repaired it")
        if described.transaction_id not in (pool.transaction, pool.transaction + 1):
            opening.notes.append(
                f"its thin pool is of transaction {pool.transaction}, and LVM expects {described.transaction_id}: the"
                " disks may be of different times"
            )
        origin = self._open(segment.external_origin, opening) if segment.external_origin else None
        length = self._bytes(segment.extent_count)
        return ThinDisk(pool, segment.device_id, capacity=length, what=opening.what, origin=origin)

    def _area(self, area: Area, extents: int, opening: _Opening) -> RandomDisk:
        """Return the extents of an area as a disk."""
        length = self._bytes(extents)
        if area.pv:
            source = self._sources[area.pv]
            below = self._physical.get(source.uuid)
            start = source.pe_start + self._bytes(area.start)
            if below is None and source.uuid in self._absent:
                raise UnsupportedError(f"{opening.what}: a disk is not in the backup: {self._absent[source.uuid]}")
            if below is None:
                raise UnsupportedError(
                    f"{opening.what}: it lies on the physical volume {source.uuid}, which the guest saw as"
                    f" {source.device or source.name} and which is on none of the disks"
                )
            inside = area.start + extents <= source.pe_count
        else:
            below, start, inside = self._open(area.lv, opening), self._bytes(area.start), True
        if not inside or start + length > below.capacity:
            raise CorruptError(f"{opening.what}: it reaches beyond the end of {area.pv or area.lv}, which is too small")
        return JoinedDisk([Part(below, start, length)], what=opening.what)

    def _bytes(self, extents: int) -> int:
        return extents * self._group.extent_size

    @staticmethod
    def _refused(opening: _Opening, why: str) -> UnsupportedError:
        inner = "" if len(opening.inside) < 2 else f" lies on {opening.inside[-1]}, which"
        return UnsupportedError(f"{opening.what}: it{inner} {why}, and cannot be read here; {_THERE}")


def shown(group: VolumeGroup) -> Iterator[LogicalVolume]:
    """Yield the volumes that a user of the guest sees. A snapshot is seen under the name of its store."""
    for volume in group.logical_volumes:
        if volume.is_visible and not any(segment.kind == "snapshot" for segment in volume.segments):
            yield volume
