"""Matches the disks of a restore point with the disks of a new VM, and with the replacements of physical RDMs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmkeep.flows.restore_request import NewVmOptions, PhysicalRdm
from vmkeep.flows.restore_saved import rdms_asked
from vmkeep.flows.restore_values import DiskMatch
from vmkeep.model.disk import Disk


def match_new_disks(options: NewVmOptions, disks: Sequence[Disk], luns: Mapping[str, str]) -> tuple[DiskMatch, ...]:
    """Return for each disk of a point whether its content is written, with a note on everything unusual.

    :param luns: the LUN that replaces a physical RDM, by the address of the saved disk.
    """
    asked = rdms_asked(options, disks)
    return tuple(
        _match_rdm(disk, asked.get(disk.key, options.physical_rdm), luns.get(disk.address))
        if disk.physical_rdm
        else _match_disk(disk)
        for disk in disks
    )


def _match_disk(disk: Disk) -> DiskMatch:
    if disk.skip is not None:
        return DiskMatch(disk=disk, target_key=None, written=False, note="not in the backup: created empty")
    note = "virtual-mode RDM becomes an ordinary disk" if disk.compatibility_mode == "virtualMode" else ""
    return DiskMatch(disk=disk, target_key=None, written=True, note=note)


def _match_rdm(disk: Disk, physical: PhysicalRdm, lun: str | None) -> DiskMatch:
    """Match a physical RDM with its replacement. Its content is in the point only if it was read from the LUN."""
    copied = disk.skip is None
    what = "content in the backup" if copied else "not backed up"
    written = copied and physical is PhysicalRdm.DISK and lun is None
    if lun is not None:
        note = f"mapped to LUN {lun}, on which nothing is written"
    elif physical is PhysicalRdm.DISK:
        note = "an ordinary disk takes its place" + ("" if copied else ", empty")
    elif physical is PhysicalRdm.OMIT:
        note = "left out"
    else:
        note = "an empty placeholder disk takes its place" + (
            "; --physical-rdm disk (physical_rdm) would write it to an ordinary disk" if copied else ""
        )
    return DiskMatch(disk=disk, target_key=None, written=written, note=f"physical RDM, {what}: {note}")
