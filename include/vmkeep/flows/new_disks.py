"""Matches the disks of a restore point with the disks of a new VM, and with the replacements of its RDMs. Pure.

Nothing is written to a LUN unless a person named it and said ``overwrite``, because nobody knows what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmkeep.errors import ConflictError
from vmkeep.flows.restore_request import OnConflict, RestoreRequest
from vmkeep.flows.restore_saved import rdms_asked
from vmkeep.flows.restore_values import DiskMatch
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.rdm import RdmChoice, RdmReplacement
from vmkeep.model.wording import exact_size, size
from vmkeep.vsphere.luns import Lun
from vmkeep.vsphere.specdisks import PLACEHOLDER_BYTES


def match_new_disks(request: RestoreRequest, disks: Sequence[Disk], luns: Mapping[str, Lun]) -> tuple[DiskMatch, ...]:
    """Return for each disk of a point whether its content is written, with a note on everything unusual.

    :param luns: the LUN that an RDM is mapped to, by the address of the saved disk.
    :raises ConflictError: a disk's content would be written to a LUN, and the request does not allow that.
    """
    choices = rdms_asked(request.new_vm, disks)
    matches = []
    for disk in disks:
        choice, lun = choices.get(disk.key), luns.get(disk.address)
        if choice is None:
            matches.append(_match_disk(disk))
        elif lun is not None:
            matches.append(_match_lun(disk, choice, lun, request.on_conflict))
        else:
            matches.append(_match_rdm(disk, choice.replacement))
    return tuple(matches)


def _match_disk(disk: Disk) -> DiskMatch:
    if disk.skip is not None:
        return DiskMatch(disk=disk, target_key=None, written=False, note="not in the backup; created empty")
    return DiskMatch(disk=disk, target_key=None, written=True)


def _match_rdm(disk: Disk, replacement: RdmReplacement) -> DiskMatch:
    """Match an RDM with a replacement that is no RDM. The content of a physical one may have been read from its LUN."""
    copied = disk.skip is None
    written = copied and replacement is RdmReplacement.DISK
    if replacement is RdmReplacement.DISK:
        note = "an ordinary disk takes its place" + ("" if copied else ", empty")
    elif replacement is RdmReplacement.OMIT:
        note = "left out"
    else:
        more = f"; {named('rdms', f'{disk.address}=disk')} would write it to an ordinary disk" if copied else ""
        note = f"an empty placeholder disk of at most {size(PLACEHOLDER_BYTES)} takes its place{more}"
    return DiskMatch(disk=disk, target_key=None, written=written, note=f"{_about(disk)}; {note}")


def _match_lun(disk: Disk, choice: RdmChoice, lun: Lun, on_conflict: OnConflict) -> DiskMatch:
    """Match an RDM with the LUN that it is mapped to.

    vSphere opens an RDM in physical mode for no backup program, so that only one in virtual mode gets its content.
    """
    physical = choice.is_physical(saved=disk.physical_rdm)
    to = f"mapped to LUN {lun.device_name}"
    if disk.skip is not None or physical or on_conflict is OnConflict.KEEP:
        why = f"{to}, on which nothing is written"
        if disk.skip is None and not physical:
            why += ", as asked by keep"
        return DiskMatch(disk=disk, target_key=None, written=False, note=f"{_about(disk)}; {why}")
    _require_word(disk, choice, lun, on_conflict)
    return DiskMatch(disk=disk, target_key=None, written=True, note=f"{_about(disk)}; {to}, which is written over")


def _require_word(disk: Disk, choice: RdmChoice, lun: Lun, on_conflict: OnConflict) -> None:
    would = f"the content of {disk.label} ({disk.address}) would be written over LUN {lun.device_name}"
    to_lun, ordinary = f"{disk.address}={lun.device_name}", named("rdms", f"{disk.address}=disk")
    if choice.replacement is RdmReplacement.AUTO:
        raise ConflictError(
            f"{would}, which nobody has named: name the LUN to write over with {named('luns', to_lun)}, map a LUN and "
            f"write nothing with {named('on_conflict', 'keep')}, or take an ordinary disk with {ordinary}"
        )
    if on_conflict is not OnConflict.OVERWRITE:
        raise ConflictError(
            f"{would}, and what that holds now would be lost: say {named('on_conflict', 'overwrite')} for that, or "
            f"{named('on_conflict', 'keep')} to map the LUN and write nothing"
        )
    if lun.capacity != disk.capacity:
        raise ConflictError(
            f"{would}, which has {exact_size(lun.capacity)}, not {exact_size(disk.capacity)}: choose a LUN of the "
            f"disk's size, or an ordinary disk with {ordinary}"
        )


def _about(disk: Disk) -> str:
    kind = "physical" if disk.physical_rdm else "virtual"
    return f"{kind} RDM, {'content in the backup' if disk.skip is None else 'not backed up'}"
