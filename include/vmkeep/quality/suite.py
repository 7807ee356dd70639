"""The expectations, in the order in which reports list them. ``docs/operations/proofs.md`` has the same list."""

from __future__ import annotations

from typing import Final

from vmkeep.model.disk import SkipReason
from vmkeep.model.fullreason import FullReason
from vmkeep.model.wording import age, size
from vmkeep.quality.values import Expectation, Row, Severity


def _rpo(row: Row) -> str:
    if row["value"] is None:
        return f"no good restore point; its policy allows an age of {age(row['bound'])}"
    return f"newest good restore point is {age(row['value'])} old; its policy allows {age(row['bound'])}"


def _unprotected(row: Row) -> str:
    last = f"its newest good restore point is {age(row['value'])} old" if row["value"] is not None else None
    return f"no policy takes it, and {last or 'it has no good restore point'}"


def _proof(row: Row) -> str:
    last = "never proved restorable" if row["value"] is None else f"last proved restorable {age(row['value'])} ago"
    return f"{last}; its policy demands a proof within {age(row['bound'])}"


def _snapshot(row: Row) -> str:
    return f"snapshot '{row['detail']}' is {age(row['value'])} old; {age(row['bound'])} are allowed"


def _skipped(row: Row) -> str:
    why = SkipReason(row["detail"]).why if row["detail"] in set(SkipReason) else row["detail"]
    return f"not in the newest restore point: {why}"


def _tracking(row: Row) -> str:
    reason = FullReason(row["detail"]) if row["detail"] else None
    last = f"; it was read in full because {reason.why}" if reason else ""
    return f"no change id in the newest restore point, so that the next backup reads the whole disk{last}"


def _disk_size(row: Row) -> str:
    return f"a capacity of {size(row['bound'])}, {size(row['value'])} read: these or the map's root make no sense"


def _map_root(row: Row) -> str:
    if row["detail"]:
        return f"its map cannot be read: {row['detail']}"
    if row["bound"] is None:
        return "the catalog does not have the disk"
    return f"its map is of {int(row['value']):,} bytes, and the catalog has {int(row['bound']):,}"


def _catalog_row(row: Row) -> str:
    return f"{row['ref']}: {row['detail'] or 'the catalog lacks it, or tells something else than its manifest'}"


def _sudden(row: Row) -> str:
    return (
        f"{row['value']:.1%} of its disks changed, usually {row['bound']:.1%}, and {float(row['detail']):.0%} of what "
        "was read could neither be compressed nor was known"
    )


def _change_rate(row: Row) -> str:
    return f"{row['value']:.1%} of its disks changed, usually {row['bound']:.1%}"


def _deduplication(row: Row) -> str:
    return f"{row['value']:.0%} of what was read had to be stored, usually {row['bound']:.0%}"


def _duration(row: Row) -> str:
    return f"the longest copy took {age(row['value'])}, usually {age(row['bound'])}"


def _throughput(row: Row) -> str:
    return f"copied at {size(row['value'])}/s, usually {size(row['bound'])}/s"


SUITE: Final = (
    Expectation(
        id="rpo",
        title="Every VM of a policy has a good restore point that is younger than the policy's max_age",
        meaning="After a disaster now, the VM would lose more than its policy allows.",
        remedy="Look at the VM's last runs of vm_backup and at its policy's window, and start a backup by hand.",
        severity=Severity.FAILURE,
        words=_rpo,
    ),
    Expectation(
        id="unprotected",
        title="A policy takes every VM that can be backed up",
        meaning="Nobody backs the VM up: it was forgotten, or a selection is misspelt.",
        remedy="Run 'vmkeep policy explain' for the VM, and widen a selection, or exclude the VM in a policy for all.",
        severity=Severity.WARNING,
        words=_unprotected,
    ),
    Expectation(
        id="proof-age",
        title="Every VM was proved restorable within the time that its policy demands",
        meaning="Its restore points may not be restorable, and nobody has tried for too long.",
        remedy="See its proofs in 'vmkeep point show', and why no check of its policy has made a younger one.",
        severity=Severity.FAILURE,
        words=_proof,
    ),
    Expectation(
        id="skipped-disk",
        title="No newest restore point lacks a disk that its policy does not allow to be skipped",
        meaning="The VM cannot be restored as a whole.",
        remedy="Exclude the disk in the policy, or change it so that vSphere can take a snapshot of it.",
        severity=Severity.FAILURE,
        words=_skipped,
    ),
    Expectation(
        id="sudden-change",
        title="No VM suddenly changes much data that can neither be compressed nor is known",
        meaning="Malware may be encrypting the VM's disks. Its older restore points are the good ones.",
        remedy="Look at the VM at once. Pin its older points ('vmkeep point pin'), and compare files of two points.",
        severity=Severity.FAILURE,
        words=_sudden,
    ),
    Expectation(
        id="disk-size",
        title="Sizes and map roots of each disk make sense",
        meaning="The manifest or the catalog was written by a program with an error, or was tampered with.",
        remedy="Run 'vmkeep repo check' and 'vmkeep catalog rebuild', and keep the point for the report of an error.",
        severity=Severity.FAILURE,
        words=_disk_size,
    ),
    Expectation(
        id="map-root",
        title="The map of each sampled disk can be read, and its blocks cover the disk's capacity exactly",
        meaning="A restore would yield a disk of another size, or none.",
        remedy="Run 'vmkeep repo check', and 'vmkeep repo repair' if it finds damage.",
        severity=Severity.FAILURE,
        words=_map_root,
    ),
    Expectation(
        id="catalog-row",
        title="Catalog and repository tell the same of each sampled restore point",
        meaning="Lists, windows and this check rest on facts that are wrong.",
        remedy="Run 'vmkeep catalog rebuild'. If a manifest is damaged, run 'vmkeep repo check' first.",
        severity=Severity.FAILURE,
        words=_catalog_row,
    ),
    Expectation(
        id="snapshot-age",
        title="No VM has an old snapshot",
        meaning="It grows until the datastore is full, slows the VM down, and hinders change tracking.",
        remedy="Ask the snapshot's owner, and remove it in vSphere; 'vmkeep vm sweep' removes those of dead backups.",
        severity=Severity.WARNING,
        words=_snapshot,
    ),
    Expectation(
        id="change-tracking",
        title="The next backup of each VM of a policy can continue from the newest restore point",
        meaning="The next backup reads whole disks, which may take longer than its window.",
        remedy="See the reason in 'vmkeep point show'; snapshots in the way and reset tracking are the usual ones.",
        severity=Severity.WARNING,
        words=_tracking,
    ),
    Expectation(
        id="change-rate",
        title="Each VM changes about as much as it usually does",
        meaning="Much more: a job that rewrites its disks, or an attack. Nearly nothing: changes may be left out.",
        remedy="Ask the VM's owner. If the guest has changed as usual, audit its next backup ('--audit 1').",
        severity=Severity.WARNING,
        words=_change_rate,
    ),
    Expectation(
        id="deduplication",
        title="As much of each VM's data is known or compressible as it usually is",
        meaning="Encryption was switched on in the guest, or data came that is new; the repository grows faster.",
        remedy="Ask the VM's owner, and look at the room of the repository ('vmkeep repo stats').",
        severity=Severity.WARNING,
        words=_deduplication,
    ),
    Expectation(
        id="duration",
        title="The backup of each VM takes about as long as it usually does",
        meaning="The window may become too short, and the snapshot stays longer.",
        remedy="See which transport mode the backup used, and whether a disk was read in full ('vmkeep point show').",
        severity=Severity.WARNING,
        words=_duration,
    ),
    Expectation(
        id="throughput",
        title="The backup of each VM reads about as fast as it usually does",
        meaning="A datastore, a network or a proxy became slow, or another transport mode was used.",
        remedy="See which transport mode the backup used, and look at the proxy and the datastore.",
        severity=Severity.WARNING,
        words=_throughput,
    ),
)
"""All expectations, the most important first."""
