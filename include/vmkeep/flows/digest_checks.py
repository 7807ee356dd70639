"""Reads the stored bytes of a restore point back, all or a sample, and compares them with their digests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

from vmkeep.errors import BlobNotFoundError, CorruptError, NotFoundError
from vmkeep.flows.check_values import Checked
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.job import Progress
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.model.wording import counted, size
from vmkeep.repository import Repository
from vmkeep.transfer import verify_disk

_MOST_TOLD = 100
"""Most faults that a proof names."""

Bars = Callable[[str], Callable[[Progress], None]]


def check_digests(
    repository: Repository,
    point: RestorePoint,
    *,
    sample: float = 1.0,
    bars: Bars = lambda _label: lambda _progress: None,
    check: Callable[[], None] = lambda: None,
) -> Checked:
    """Read a point's saved files, the maps of its disks, and a share of their blocks. A damaged disk hides no other.

    :param sample: the share of blocks to read, from 0 to 1; the maps and the files are read in any case.
    :param bars: makes the function that takes the progress of a disk, from its label.
    :param check: called now and then. An error that it raises ends the check.
    """
    began, blocks, checked = time.monotonic(), 0, 0
    faults = [*_damaged_files(repository, point)]
    for image in point.images:
        read = partial(verify_disk, repository, image.root, sample=sample, on_progress=bars(image.disk.label))
        try:
            disk_blocks, disk_bytes = read(check=check, what=f"{point.ref}, {image.disk.label}")
        except (CorruptError, BlobNotFoundError) as error:
            faults.append(f"{image.disk.label}: {error}")
        else:
            blocks += disk_blocks
            checked += disk_bytes
    details = {
        "share": sample,
        "blocks": blocks,
        "bytes": checked,
        "files": len(point.attachments),
        "seconds": round(time.monotonic() - began, 3),
    }
    kind = ProofKind.DIGESTS if sample >= 1 else ProofKind.WRITTEN
    if faults:
        text = faults[0] + (f", and {counted(len(faults) - 1, 'more fault')}" if len(faults) > 1 else "")
        return Checked(
            kind=kind, result=ProofResult.FAILED, text=text, details=details | {"faults": faults[:_MOST_TOLD]}
        )
    if is_without_data(point):
        text = "the point holds no disk, so that nothing of the VM's data could be read back"
        return Checked(kind=kind, result=ProofResult.UNDECIDED, text=text, details=details)
    what = "every block" if sample >= 1 else f"{sample:.0%} of the blocks"
    text = f"{what} ({size(checked)}) and {counted(len(point.attachments), 'saved file')} match their digests"
    return Checked(kind=kind, result=ProofResult.PASSED, text=text, details=details)


def is_without_data(point: RestorePoint) -> bool:
    """Return whether every disk of a VM was left out of its point. The point of an ESXi host needs none."""
    return not point.images and not is_host_key(point.vm.key)


def _damaged_files(repository: Repository, point: RestorePoint) -> Iterator[str]:
    for name in point.attachments:
        try:
            repository.load_attachment(point, name)
        except (CorruptError, BlobNotFoundError, NotFoundError) as error:
            yield f"{name}: {error}"
