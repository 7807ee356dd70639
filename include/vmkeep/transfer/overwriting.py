"""Decides in the child process which blocks of an existing disk are written, after a look at the disk itself.

vSphere's word alone does not decide that a block may stay. A sample of the blocks that it calls unchanged is read
first, and compared with the restore point by digest. At the first doubt, every block is written.

The decision is noted before the first write, because a write changes what a later try would see: a try that goes on
after a crash writes at least the blocks that the first one began to write.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.audit import AuditPlan
from vmkeep.model.blockio import DiskSource
from vmkeep.model.extents import Extent, Extents, align_out, total, unite
from vmkeep.model.job import WriteJob
from vmkeep.model.overwrite import Blocks
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.transfer.auditing import OnceAllocated, check_increment
from vmkeep.transfer.progress import OnProgress
from vmkeep.transfer.sampling import ALL_BELOW, SHARES

log = logging.getLogger(__name__)

_PIECE: Final = 1 << 20
_DEPTH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of a disk that is written."""

    only: Extents | None
    """Whole blocks; ``None``: the whole disk."""
    why: str

    @property
    def blocks(self) -> Blocks:
        """The part as one word."""
        return Blocks.ALL if self.only is None else Blocks.CHANGED


def choose_part(
    source: DiskSource,
    repository: Repository,
    job: WriteJob,
    root: str,
    *,
    on_progress: OnProgress,
    check: Callable[[], None],
) -> Part:
    """Return the part of a disk to write: the blocks that changed, if a sample of the others shows no other change.

    :param source: the disk before the first write.
    :param root: root of the point's map of the disk.
    """
    choice = job.choice
    if choice is None or choice.extents is None:
        return whole(repository, job, "what changed since the point is not known")
    try:
        changed = repository.run(job.run).load_extents(choice.extents)
    except (NotFoundError, CorruptError) as error:
        return whole(repository, job, f"the note of what changed cannot be read: {error}")
    if total(changed) >= source.capacity:
        return whole(repository, job, "every block changed, or an earlier try found a doubt")
    found = check_increment(
        OnceAllocated(source),
        repository,
        plan=_sample(source.capacity),
        done=None,
        changed=changed,
        parent=job.point,
        parent_root=root,
        piece_size=_PIECE,
        depth=_DEPTH,
        on_progress=on_progress,
        check=check,
    )
    if found.full is not None or found.audit is None:
        why = found.full.text if found.full is not None else "the blocks that would stay were not compared"
        return whole(repository, job, why)
    only = unite(align_out(changed, repository.block_size, within=source.capacity), found.trimmed)
    repository.run(job.run).store_extents(choice.extents, only)
    compared = f"{size(found.audit.bytes_read)} of the others were compared, and hold what the point holds"
    log.info("%s: %s to write; %s", job.target_file, size(total(only)), compared)
    return Part(only=only, why=f"{choice.why}; {compared}")


def whole(repository: Repository, job: WriteJob, why: str) -> Part:
    """Decide to write the whole disk."""
    log.warning("%s: every block is written, because %s", job.target_file, why)
    if job.choice is not None and job.choice.extents is not None:
        repository.run(job.run).store_extents(job.choice.extents, [Extent(0, job.capacity)])
    return Part(only=None, why=why)


def _sample(capacity: int) -> AuditPlan:
    of = 1 if capacity <= ALL_BELOW else SHARES
    return AuditPlan(phase=secrets.randbelow(of), of=of)
