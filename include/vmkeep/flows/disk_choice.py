"""Chooses the disks that a backup copies: by the request's rules, and by the mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.diskrule import DiskRule, parse_disk_rule
from vmkeep.model.point import BackupMode
from vmkeep.vsphere.paths import parse_path

_NOT_INCLUDED = "no rule includes it"


def choose_disks(disks: Sequence[Disk], request: BackupRequest) -> tuple[Disk, ...]:
    """Mark the disks that the request leaves out, each with the rule that does so.

    :raises UsageError: a rule names one disk, and there is none of that name, which is most often a typing error.
    """
    include = [parse_disk_rule(text) for text in request.include]
    exclude = [parse_disk_rule(text) for text in request.exclude]
    for doing, rules in (("include", include), ("exclude", exclude)):
        for rule in rules:
            if rule.named is not None and not any(fits(rule, disk) for disk in disks):
                known = ", ".join(f"{disk.address} ({disk.label})" for disk in disks)
                raise UsageError(f"no disk '{rule}' to {doing}; the VM has {known}")
    return tuple(_marked(disk, include, exclude) for disk in disks)


def _marked(disk: Disk, include: Sequence[DiskRule], exclude: Sequence[DiskRule]) -> Disk:
    out = next((f"excluded by {rule}" for rule in exclude if fits(rule, disk)), None)
    if out is None and include and not any(fits(rule, disk) for rule in include):
        out = _NOT_INCLUDED
    return disk if out is None else replace(disk, skip=disk.skip or SkipReason.EXCLUDED, left_out=out)


def fits(rule: DiskRule, disk: Disk) -> bool:
    """Return whether a disk fits a rule."""
    place = parse_path(disk.file_name)
    return rule.fits(disk, place.datastore if place is not None else None)


def readable(disks: Sequence[Disk], mode: BackupMode) -> tuple[Disk, ...]:
    """Clear the reason to skip a disk where only a snapshot is the reason, and the mode takes none."""
    if mode is not BackupMode.ASIS:
        return tuple(disks)
    return tuple(
        replace(disk, skip=None) if disk.skip is not None and disk.skip.only_of_snapshots else disk for disk in disks
    )


def require_some(disks: Sequence[Disk], request: BackupRequest, vm: str) -> None:
    """Return if a disk is copied, and no disk is skipped against the request's will.

    :raises UnsupportedError: no disk is copied; or the request makes a skipped disk a failure, and one is skipped that
        it did not leave out itself.
    """
    if all(disk.skip for disk in disks):
        why = "; ".join(f"{disk.label}: {disk.why_skipped}" for disk in disks) or "it has no disks"
        raise UnsupportedError(f"VM {vm}: there is nothing to back up: {why}")
    unwanted = [disk for disk in disks if disk.skip is not None and not disk.left_out]
    if request.skipped_is_failure and unwanted:
        why = "; ".join(f"{disk.label} ({disk.address}): {disk.why_skipped}" for disk in unwanted)
        raise UnsupportedError(
            f"VM {vm}: a skipped disk is a failure of this backup, and these cannot be copied: {why}. Exclude them, or "
            "allow skipped disks"
        )
