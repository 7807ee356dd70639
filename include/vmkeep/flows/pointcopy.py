"""Copies restore points to a second repository: at another place, in another kind of store, with another key.

A copied point keeps its id, its time and its VM, and is complete by itself, like any other. Its run tells where it was
made first (``copy:<repository id>:<run>``). By this a later copy finds the points that both repositories have. The
copied blocks are read again before the point is sealed. A suspicion of the point is taken over with it, and so is the
end of one, also when only that has changed since the last copy. Pins and damage marks are not copied, because each
repository has its own. Proofs about the content come along (:mod:`vmkeep.flows.copied_proofs`), and so do
indexes of files and the evidence of recoveries (:mod:`vmkeep.flows.copied_recoveries`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from vmkeep.blobs import abreast
from vmkeep.errors import NotFoundError, UnsupportedError, UsageError
from vmkeep.flows.copied_file_lists import bring_file_lists
from vmkeep.flows.copied_marks import bring_marks, bring_marks_of
from vmkeep.flows.copied_point import PointJob, load_or_tell
from vmkeep.flows.copied_proofs import bring_proofs
from vmkeep.flows.copied_recoveries import bring_recoveries
from vmkeep.flows.copy_values import CopyReport, CopyState, PointCopy, Verify
from vmkeep.flows.few_segments import keep_segments_few
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress


def choose_points(source: Repository, refs: Sequence[str], *, vm: str | None, latest: bool) -> list[str]:
    """Return the refs of the points that a person chose: by name, by VM, the newest ones, or all points.

    :param vm: only this VM's points, by name or key.
    :param latest: only the newest point of each VM.
    :raises NotFoundError: no point has that name, or the VM has no point.
    """
    if refs:
        return [source.find_ref(ref) for ref in refs]
    every = list(source.point_refs())
    keys = dict.fromkeys(ref.rpartition("/")[0] for ref in every)
    wanted = set(keys) if vm is None else set(source.keys_of_vm(vm))
    if vm is not None and not wanted:
        raise NotFoundError(f"no restore point of a VM '{vm}' in {source.location}; see 'vmkeep point list'")
    if not latest:
        return [ref for ref in every if ref.rpartition("/")[0] in wanted]
    return [ref for key in sorted(wanted) for ref in source.latest_refs(key)]


def copy_points(
    source: Repository,
    target: Repository,
    refs: Sequence[str],
    *,
    verify: Verify = Verify.SAMPLE,
    dry_run: bool = False,
    on_progress: OnProgress = lambda _progress: None,
    check: Callable[[], None] = lambda: None,
) -> CopyReport:
    """Copy points to another repository. Points that are there are skipped, and a copy that died is continued.

    A damaged point fails alone, and so does one whose name is taken; see :class:`CopyState`. Any other error ends the
    call. Points that were sealed before are whole.

    :param refs: full refs of points in the source.
    :param check: called now and then. An error that it raises ends the copy.
    :raises UsageError: source and target are the same repository.
    :raises UnsupportedError: source and target differ in block size.
    """
    require_pair(source, target)
    loaded = list(abreast(source.blobs, partial(load_or_tell, source), dict.fromkeys(refs)))
    points = sorted((one for one in loaded if isinstance(one, RestorePoint)), key=lambda point: point.taken_at)
    copies = [one for one in loaded if isinstance(one, PointCopy)]
    for number, point in enumerate(points):
        phase = f"copy point {number + 1} of {len(points)}"
        copies.append(PointJob(source, target, point, phase, verify, on_progress, check).run(dry_run=dry_run))
        if copies[-1].state is CopyState.COPIED:
            bring_marks_of(point, source.marks.of(point.ref), source, target)
    if not dry_run:
        bring_marks(source, target)
        bring_proofs(source, target)
        bring_file_lists(source, target)
        bring_recoveries(source, target)
        keep_segments_few(target)
    return CopyReport(source=source.location, target=target.location, points=tuple(copies))


def require_pair(source: Repository, target: Repository) -> None:
    """Return if points can be copied from one repository to the other.

    :raises UsageError: they are the same repository, or one is a clone of the other.
    :raises UnsupportedError: they differ in block size.
    """
    if source.id == target.id:
        raise UsageError(f"{source.location} and {target.location} are one repository, or one is a clone of the other")
    if source.block_size != target.block_size:
        raise UnsupportedError(
            f"{source.location} has blocks of {source.block_size // 1024} KiB and {target.location} of "
            f"{target.block_size // 1024}: create a target with 'repo init --block-size {source.block_size // 1024}'"
        )
