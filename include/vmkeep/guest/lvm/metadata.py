"""Makes a volume group of the text that describes it.

The text has one section for the group, which holds ``physical_volumes`` and ``logical_volumes``. A logical volume has
sections ``segment1``, ``segment2`` … Sizes are in sectors of 512 bytes. A segment names areas as pairs of a name and an
extent; RAIDs name pairs of a metadata volume and a data volume. The type of a segment may be followed by flags, each
after a plus sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmkeep.guest.disks import Contradiction
from vmkeep.guest.lvm.labels import SECTOR
from vmkeep.guest.lvm.text import Section, parse_text
from vmkeep.guest.lvm.values import Area, LogicalVolume, PhysicalVolume, Segment, VolumeGroup

_CONTENTS: Final = "Text Format Volume Group"
_VERSION: Final = 1
_POOLS: Final = ("pool", "thin_pool", "cache_pool", "vdo_pool", "data")


def read_group(data: bytes) -> VolumeGroup:
    """Return the volume group that a metadata text describes.

    :raises Contradiction: it is no such text. The message names the line.
    """
    whole = parse_text(data)
    contents, version = whole.settings.get("contents"), whole.settings.get("version")
    if contents != _CONTENTS or version != _VERSION:
        raise Contradiction(f"its contents are {str(contents)[:40]!r}, version {str(version)[:9]}: no volume group")
    if len(whole.sections) != 1:
        raise Contradiction(f"the text describes {len(whole.sections)} volume groups")
    ((name, group),) = whole.sections.items()
    volumes = group.part("physical_volumes").sections
    logical = group.part("logical_volumes").sections
    names = frozenset(volumes)
    copies = frozenset(_copies(logical))
    if not group.number("extent_size"):
        raise Contradiction(f"line {group.line}: the volume group has extents of no size")
    return VolumeGroup(
        uuid=group.text("id"),
        name=name,
        seqno=group.number("seqno"),
        extent_size=_bytes(group, "extent_size"),
        physical_volumes=tuple(_physical(key, section) for key, section in volumes.items()),
        logical_volumes=tuple(_logical(key, section, names, is_copy=key in copies) for key, section in logical.items()),
        status=group.words("status"),
        written_by=whole.text("creation_host", ""),
        description=whole.text("description", ""),
    )


def _bytes(section: Section, name: str, usual: int | None = None) -> int:
    return section.number(name, usual) * SECTOR


def _physical(name: str, section: Section) -> PhysicalVolume:
    return PhysicalVolume(
        uuid=section.text("id"),
        name=name,
        device=section.text("device", ""),
        dev_size=_bytes(section, "dev_size", 0),
        pe_start=_bytes(section, "pe_start"),
        pe_count=section.number("pe_count"),
        status=section.words("status"),
        flags=section.words("flags"),
    )


def _copies(logical: dict[str, Section]) -> Iterator[str]:
    """Yield the names of volumes that hold the copied blocks of a snapshot; the user sees the snapshot by that name."""
    for volume in logical.values():
        for segment in volume.sections.values():
            if "cow_store" in segment.settings:
                yield segment.text("cow_store")


def _logical(name: str, section: Section, physical: frozenset[str], *, is_copy: bool) -> LogicalVolume:
    count = section.number("segment_count")
    if count != len(section.sections):
        raise Contradiction(
            f"line {section.line}: the logical volume has {len(section.sections)} segments, and says {count}"
        )
    segments = sorted(
        (_segment(each, physical) for each in section.sections.values()), key=lambda segment: segment.start_extent
    )
    status = section.words("status")
    return LogicalVolume(
        uuid=section.text("id"),
        name=name,
        is_visible=is_copy or "VISIBLE" in status,
        status=status,
        segments=tuple(segments),
        flags=section.words("flags"),
    )


def _segment(section: Section, physical: frozenset[str]) -> Segment:
    kind, *flags = section.text("type").split("+")
    metadata_areas, areas = _areas(section, physical)
    return Segment(
        start_extent=section.number("start_extent"),
        extent_count=section.number("extent_count"),
        kind=kind,
        kind_flags=tuple(flags),
        areas=areas,
        metadata_areas=metadata_areas,
        stripe_size=_bytes(section, "stripe_size", 0),
        region_size=_bytes(section, "region_size", 0),
        pool=_first(section, _POOLS),
        metadata=section.text("metadata", ""),
        device_id=section.number("device_id") if "device_id" in section.settings else None,
        transaction_id=section.number("transaction_id") if "transaction_id" in section.settings else None,
        chunk_size=_bytes(section, "chunk_size", 0),
        origin=section.text("origin", ""),
        external_origin=section.text("external_origin", ""),
        cow_store=section.text("cow_store", ""),
        merging_store=section.text("merging_store", ""),
    )


def _first(section: Section, names: tuple[str, ...]) -> str:
    return next((section.text(name) for name in names if name in section.settings), "")


def _areas(section: Section, physical: frozenset[str]) -> tuple[tuple[Area, ...], tuple[Area, ...]]:
    """Return the metadata areas and the data areas of a segment."""
    if "raids" in section.settings:
        pairs = list(_pairs(section, "raids"))
        meta = tuple(_area(section, name, 0, physical) for name, _ in pairs)
        return meta, tuple(_area(section, name, 0, physical) for _, name in pairs)
    for key in ("stripes", "mirrors"):
        if key in section.settings:
            return (), tuple(_area(section, name, start, physical) for name, start in _pairs(section, key))
    return (), tuple(_area(section, name, 0, physical) for name in section.items("raid0_lvs"))


def _pairs(section: Section, key: str) -> Iterator[tuple[object, object]]:
    items = section.items(key)
    if len(items) % 2:
        raise Contradiction(f"line {section.line}: {key} of the segment names {len(items)} things, which are no pairs")
    return iter(zip(items[::2], items[1::2], strict=True))


def _area(section: Section, name: object, start: object, physical: frozenset[str]) -> Area:
    if not isinstance(name, str) or not isinstance(start, int) or not 0 <= start < 1 << 63:
        raise Contradiction(f"line {section.line}: an area of the segment is {name!r} from {start!r} on")
    return Area(pv=name, start=start) if name in physical else Area(lv=name, start=start)
