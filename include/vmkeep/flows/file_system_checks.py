"""Looks at the file systems in a restore point: partition tables, volume groups, and the roots of file systems.

A block that cannot be read, a volume group that contradicts itself, and a file system whose root folder cannot be
listed are failures. Undecided are a partition table that contradicts itself, a file system that is larger than its
volume, a volume that may hide files and cannot be looked into, such as an encrypted one or data of which no kind is
known, and a point that lacks a file system of the point before or has none at all. A journal that was not replayed is a
note, because every copy of a running machine has one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from itertools import islice

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.flows.check_values import Checked
from vmkeep.flows.file_system_history import lost_file_systems, remembered
from vmkeep.flows.guest_disks import disks_in_guest, disks_not_in_backup
from vmkeep.flows.scan_volumes import is_too_small
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.lvm import Finding, Severity, check
from vmkeep.guest.volumes import Volume, Volumes, find_volumes
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.model.wording import counted, size
from vmkeep.repository import Repository
from vmkeep.transfer import open_views

_MOST_TOLD = 200
"""Most volumes and findings that a proof names."""
_LISTED = 1000
"""Names of a root folder that are listed, at most."""
_READY = "ready"


def check_file_systems(repository: Repository, point: RestorePoint) -> Checked:
    """Look at the disks of a point. Only some blocks of each volume are read.

    The caller keeps the point in use meanwhile.
    """
    began = time.monotonic()
    damage: list[str] = []
    with open_views(repository) as views:
        disks = [replace(each, disk=_Watched(each.disk, damage)) for each in disks_in_guest(views, point)]
        missing = disks_not_in_backup(point)
        volumes = find_volumes(disks, missing)
        findings = check(volumes.lvm, missing)
        roots = _Roots.of(volumes)
        lost = list(lost_file_systems(repository, point, volumes))
    result, text = _judge(volumes, findings, damage, [*lost, *roots.doubts], roots.failures)
    details = {
        "seconds": round(time.monotonic() - began, 3),
        "volumes": [_plain(volume) for volume in volumes.listed[:_MOST_TOLD]],
        "file_systems": remembered(volumes),
        "findings": [
            {"code": each.code, "severity": each.severity, "disk": each.disk, "text": each.text}
            for each in findings[:_MOST_TOLD]
        ],
    }
    return Checked(kind=ProofKind.FILE_SYSTEMS, result=result, text=text, details=details)


class _Watched:
    """A disk that notes what of it is damaged, because the reader of volumes only passes over such a volume."""

    def __init__(self, disk: RandomDisk, damage: list[str]) -> None:
        self._disk = disk
        self._damage = damage

    @property
    def capacity(self) -> int:
        return self._disk.capacity

    def read_into(self, start: int, buffer: memoryview) -> None:
        try:
            self._disk.read_into(start, buffer)
        except CorruptError as error:
            self._damage.append(str(error))
            raise

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        return self._disk.extents(start, stop)


@dataclass(slots=True)
class _Roots:
    """The attempts to list the root folder of each file system."""

    failures: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, volumes: Volumes) -> _Roots:
        """Open each file system, and list the beginning of its root folder."""
        found = cls()
        for volume in volumes:
            if not volume.has_files:
                continue
            try:
                with open_file_system(volume.open(), volume.kind, what=volume.name) as files:
                    for _ in islice(files.entries("/"), _LISTED):
                        pass
            except (CorruptError, NotFoundError) as error:
                found.failures.append(f"{volume.name}: its {volume.kind} cannot be read: {error}")
            except UnsupportedError as error:
                found.doubts.append(f"{volume.name}: {error}")
        return found


def _judge(
    volumes: Volumes, findings: Sequence[Finding], damage: Sequence[str], doubts: Sequence[str], failed: Sequence[str]
) -> tuple[ProofResult, str]:
    if failures := [*damage, *_failures(volumes, findings), *failed]:
        return ProofResult.FAILED, _summed(failures)
    if unclear := [*_doubts(volumes), *doubts]:
        return ProofResult.UNDECIDED, _summed(unclear)
    readable = [volume for volume in volumes if volume.has_files]
    if not readable:
        return ProofResult.UNDECIDED, "no file system that can be read is on the disks"
    replay = [volume.name for volume in readable if volume.state != _READY]
    notes = f"; {counted(len(replay), 'journal')} to replay ({', '.join(replay[:5])})" if replay else ""
    what = f"{counted(len(readable), 'file system')}, {counted(len(volumes.lvm.groups), 'volume group')}"
    return ProofResult.PASSED, f"{what} on {counted(len(volumes.lvm.tables), 'disk')}, whose roots can be read{notes}"


def _failures(volumes: Volumes, findings: Sequence[Finding]) -> Iterator[str]:
    for unread in volumes.lvm.unread:
        yield f"{unread.place.name} cannot be read: {unread.why}"
    for finding in findings:
        if finding.severity is Severity.FAILURE:
            yield finding.text


def _doubts(volumes: Volumes) -> Iterator[str]:
    for table in volumes.lvm.tables:
        yield from table.warnings
    for volume in volumes:
        if volume.is_cut:
            yield f"{volume.name}: its {volume.kind} is larger than the volume, so that it is cut off"
        elif volume.is_ambiguous:
            yield f"{volume.name}: {volume.warnings[-1]}"
        elif not volume.may_hide_files or is_too_small(volume):
            continue
        elif volume.kind == "unknown":
            yield f"{volume.name} has data of which no kind is known ({size(volume.size)})"
        else:
            yield f"{volume.name}: nobody can look into its {volume.kind}: {volume.refusal}"


def _summed(sentences: Sequence[str]) -> str:
    unique = [*dict.fromkeys(sentences)]
    return unique[0] + (f", and {counted(len(unique) - 1, 'more thing')}" if len(unique) > 1 else "")


def _plain(volume: Volume) -> dict[str, object]:
    return {
        "name": volume.name,
        "size": volume.size,
        "kind": volume.kind,
        "label": volume.label,
        "state": volume.state,
        "warnings": list(volume.warnings),
    }
