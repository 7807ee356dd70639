"""Reads all that LVM has on the disks of one guest: labels, metadata areas, and the volume groups by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.disks import Contradiction, DiskInGuest, MetadataReader
from vmkeep.guest.lvm.areas import read_area, read_text
from vmkeep.guest.lvm.labels import LABEL_SECTORS, SECTOR, RawLabel, find_label, is_encrypted
from vmkeep.guest.lvm.metadata import read_group
from vmkeep.guest.lvm.raid import MIRROR, RaidMember, member_at_end, member_at_start
from vmkeep.guest.lvm.values import (
    Finding,
    FindingCode,
    LvmLabel,
    LvmState,
    MetadataCopy,
    Severity,
    Unread,
    VolumeGroup,
)
from vmkeep.guest.partitions import PartitionPlace, PartitionTable, read_partitions

_MOST_PARSED: Final = 32 << 20
"""Bytes of different texts that are parsed for one guest."""


def read_lvm(disks: Sequence[DiskInGuest]) -> LvmState:
    """Read what LVM has on all disks of one guest.

    Reads a few kilobytes of each disk, and at most 32 MiB. Damage to the restore point is part of the answer
    (``unread``), and so is damage to LVM's structures.
    """
    return _Reading().run(disks)


class _Reading:
    """One reading of the disks of one guest."""

    def __init__(self) -> None:
        self._tables: list[PartitionTable] = []
        self._labels: list[LvmLabel] = []
        self._copies: list[MetadataCopy] = []
        self._problems: list[Finding] = []
        self._unread: list[Unread] = []
        self._readers: dict[int, MetadataReader] = {}
        self._arrays: set[bytes] = set()
        self._raids: list[PartitionPlace] = []
        self._encrypted: list[PartitionPlace] = []
        self._parsed: dict[bytes, VolumeGroup | Contradiction] = {}
        self._left = _MOST_PARSED

    def run(self, disks: Sequence[DiskInGuest]) -> LvmState:
        for disk in disks:
            reader = self._readers[disk.number] = MetadataReader(disk)
            try:
                self._read_disk(reader)
            except CorruptError as error:
                whole = PartitionPlace(disk=disk.number, number=0, start=0, size=reader.capacity)
                self._unread.append(Unread(place=whole, why=str(error)))
        self._leave_out_mirrors()
        return LvmState(
            tables=tuple(self._tables),
            labels=tuple(self._labels),
            copies=tuple(self._copies),
            groups=tuple(newest_groups(self._copies)),
            unread=tuple(self._unread),
            problems=tuple(self._problems),
            raids=tuple(self._raids),
            encrypted=tuple(self._encrypted),
            bytes_read=sum(reader.bytes_read for reader in self._readers.values()),
        )

    def _read_disk(self, reader: MetadataReader) -> None:
        table = read_partitions(reader.disk, reader=reader)
        self._tables.append(table)
        for place in table.places:
            try:
                self._read_place(reader, place, is_passed_over=place is table.whole and bool(table.partitions))
            except CorruptError as error:
                self._unread.append(Unread(place=place, why=str(error)))

    def _read_place(self, reader: MetadataReader, place: PartitionPlace, *, is_passed_over: bool) -> None:
        """Look for a label.

        :param is_passed_over: LVM takes no physical volume from a disk that has partitions.
        """
        head = reader.read(place.start, min(place.size, LABEL_SECTORS * SECTOR))
        try:
            raw = find_label(head)
        except Contradiction as error:
            if not is_passed_over:
                self._note(FindingCode.METADATA_TORN, Severity.FAILURE, place, f"{place.name}: {error}")
            return
        if raw is None and is_passed_over:
            return
        if raw is None:
            if is_encrypted(head):
                self._encrypted.append(place)
            else:
                self._look_below(reader, place)
        elif is_passed_over:
            text = f"{place.name} has a label of LVM, but also partitions, so LVM passes over the label"
            self._note(FindingCode.LABEL_PASSED_OVER, Severity.NOTE, place, text, pv=raw.uuid)
        else:
            self._read_volume(reader, place, raw)

    def _look_below(self, reader: MetadataReader, place: PartitionPlace) -> None:
        """Look for a label in the data of a RAID, once for all its mirrors; else say that there is none."""
        member = member_at_start(reader, place)
        if member is None:
            if place.is_for_lvm:
                text = f"{place.name} has the partition type of LVM, but no label: it was never initialised"
                self._note(FindingCode.NOT_INITIALISED, Severity.NOTE, place, text)
        elif member.level != MIRROR:
            self._raids.append(place)
        elif member.array not in self._arrays:
            self._arrays.add(member.array)
            inner = replace(place, start=place.start + member.data_start, size=member.data_size)
            head = reader.read(inner.start, min(inner.size, LABEL_SECTORS * SECTOR))
            try:
                raw = find_label(head)
            except Contradiction as error:
                self._note(FindingCode.METADATA_TORN, Severity.FAILURE, place, f"{place.name}: {error}")
                return
            if raw is not None:
                self._read_volume(reader, inner, raw)
            elif is_encrypted(head):
                self._encrypted.append(place)

    def _leave_out_mirrors(self) -> None:
        """Keep one of several labels that are alike because a RAID mirrors them."""
        for uuid, count in Counter(label.uuid for label in self._labels).items():
            if count > 1:
                labels = [label for label in self._labels if label.uuid == uuid]
                members = [self._member_at_end(label.place) for label in labels]
                if all(each and each.level == MIRROR for each in members) and len({e.array for e in members if e}) == 1:
                    self._drop(labels[1:], kept=labels[0])

    def _member_at_end(self, place: PartitionPlace) -> RaidMember | None:
        try:
            return member_at_end(self._readers[place.disk], place)
        except CorruptError as error:
            self._unread.append(Unread(place=place, why=str(error)))
            return None

    def _drop(self, labels: Sequence[LvmLabel], *, kept: LvmLabel) -> None:
        for label in labels:
            text = f"{label.place.name} mirrors {kept.place.name} by a software RAID, so its label does not count"
            self._note(FindingCode.LABEL_PASSED_OVER, Severity.NOTE, label.place, text, pv=label.uuid)
        places = {label.place for label in labels}
        self._labels = [label for label in self._labels if label.place not in places]
        self._copies = [copy for copy in self._copies if copy.label.place not in places]

    def _note(self, code: FindingCode, severity: Severity, place: PartitionPlace, text: str, pv: str = "") -> None:
        self._problems.append(Finding(code=code, severity=severity, pv=pv, disk=place.name, text=text))

    def _read_volume(self, reader: MetadataReader, place: PartitionPlace, raw: RawLabel) -> None:
        label = LvmLabel(
            uuid=raw.uuid,
            place=place,
            device_size=raw.device_size,
            is_used=raw.is_used,
            areas=len(raw.metadata_areas),
        )
        self._labels.append(label)
        for number, (at, size) in enumerate(raw.metadata_areas, start=1):
            self._copies.append(self._read_copy(reader, label, number, at, size))

    def _read_copy(self, reader: MetadataReader, label: LvmLabel, number: int, at: int, size: int) -> MetadataCopy:
        """Read one metadata area.

        :raises CorruptError: a stored block is damaged.
        """
        start = label.place.start + at
        try:
            if at + size > label.place.size:
                raise Contradiction(f"the metadata area at byte {start} reaches beyond {label.place.name}")
            area = read_area(reader, label.place.start, at, size)
            if area.is_ignored or not area.text_at:
                return MetadataCopy(label=label, area=number, start=start, is_ignored=area.is_ignored)
            text = read_text(reader, area)
            return MetadataCopy(
                label=label,
                area=number,
                start=start,
                checksum=area.text_checksum,
                precommitted=area.precommitted,
                group=self._group(text, f"the metadata text at byte {start + area.text_at}"),
            )
        except Contradiction as error:
            return MetadataCopy(label=label, area=number, start=start, problem=str(error))

    def _group(self, text: bytes, where: str) -> VolumeGroup:
        """Parse a text, unless the same one was parsed before."""
        if text not in self._parsed:
            self._left -= len(text)
            if self._left < 0:
                raise CorruptError(f"the guest has more than {_MOST_PARSED} bytes of different metadata texts")
            try:
                self._parsed[text] = read_group(text)
            except Contradiction as error:
                self._parsed[text] = error
        outcome = self._parsed[text]
        if isinstance(outcome, Contradiction):
            raise Contradiction(f"{where}: {outcome}")
        return outcome


def active(copies: Iterable[MetadataCopy]) -> Iterator[tuple[MetadataCopy, VolumeGroup]]:
    """Yield each copy that LVM keeps up to date and that can be read, with its content."""
    for copy in copies:
        if copy.group is not None and not copy.is_ignored:
            yield copy, copy.group


def newest_groups(copies: Iterable[MetadataCopy]) -> Iterator[VolumeGroup]:
    """Yield each volume group by its newest text; of several of one number, by that which most areas hold."""
    held: dict[str, Counter[tuple[int, int]]] = {}
    texts: dict[tuple[str, int, int], VolumeGroup] = {}
    for copy, group in active(copies):
        key = (group.seqno, copy.checksum or 0)
        held.setdefault(group.uuid, Counter())[key] += 1
        texts.setdefault((group.uuid, *key), group)
    for uuid, counted in held.items():
        newest = max(seqno for seqno, _ in counted)
        (_, checksum), _ = max(
            ((key, count) for key, count in counted.items() if key[0] == newest), key=lambda each: each[1]
        )
        yield texts[uuid, newest, checksum]
