"""Copies restore points to a second repository: at another place, in another kind of store, with another key.

A copied point keeps its id, its time and its VM, and is complete by itself, like any other. Its run tells where it was
made first (``copy:<repository id>:<run>``). By this a later copy finds the points that both repositories have. The
copied blocks are read again before the point is sealed. A suspicion of the point is taken over with it, and so is the
end of one, also when only that has changed since the last copy. Pins and damage marks are not copied, because each
repository has its own. Proofs about the content come along (:mod:`vmkeep.flows.copied_proofs`), and so do
indexes of files and the evidence of recoveries (:mod:`vmkeep.flows.copied_recoveries`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from vmkeep.blobs import abreast
from vmkeep.errors import (
    BlobNotFoundError,
    ConflictError,
    CorruptError,
    NotFoundError,
    StaleError,
    UnsupportedError,
    UsageError,
)
from vmkeep.flows.check_values import Checked
from vmkeep.flows.copied_file_lists import bring_file_lists
from vmkeep.flows.copied_marks import bring_marks, bring_marks_of
from vmkeep.flows.copied_proofs import bring_proofs
from vmkeep.flows.copied_recoveries import bring_recoveries
from vmkeep.flows.digest_checks import is_without_data
from vmkeep.flows.proving import try_to_record
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.model.wording import counted
from vmkeep.repository import BlockWriter, Repository, copied_run, find_twin, share_digests
from vmkeep.transfer import verify_disk
from vmkeep.transfer.mapcopy import CopyBase, MapCopy
from vmkeep.transfer.progress import OnProgress, ProgressCounter

_SAMPLE = 0.05
_TRIES = 3


class Verify(StrEnum):
    """The share of a copied point that is read back from the target before it is sealed."""

    ALL = "all"
    SAMPLE = "sample"
    """One block in twenty is read; all others are only looked up in the index."""
    NONE = "none"


class CopyState(StrEnum):
    """The outcome for one point."""

    COPIED = "copied"
    PLANNED = "planned"
    """The point would be copied, but this was a dry run."""
    PRESENT = "present"
    """The target has it already."""
    GONE = "gone"
    """Another process has removed the point from the source meanwhile."""
    FAILED = "failed"
    """The point is damaged in the source, did not arrive whole, or its name is taken. Nothing was sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCopy:
    """The outcome of copying one point."""

    ref: str
    state: CopyState
    blocks_changed: int = 0
    """Number of blocks that differ from those at the same place in the point that was copied before."""
    bytes_read: int = 0
    """Bytes of content read from the source; in a dry run, those that would be read."""
    bytes_stored: int = 0
    """Bytes written to the target, its map and index included."""
    blocks_verified: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """The outcome for all points: first those that cannot be read, then the others, oldest first."""

    source: str
    target: str
    points: tuple[PointCopy, ...]

    @property
    def failed(self) -> tuple[PointCopy, ...]:
        """The points that could not be copied."""
        return tuple(point for point in self.points if point.state is CopyState.FAILED)


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
    loaded = list(abreast(source.blobs, partial(_load, source), dict.fromkeys(refs)))
    points = sorted((one for one in loaded if isinstance(one, RestorePoint)), key=lambda point: point.taken_at)
    copies = [one for one in loaded if isinstance(one, PointCopy)]
    for number, point in enumerate(points):
        phase = f"copy point {number + 1} of {len(points)}"
        copies.append(_PointJob(source, target, point, phase, verify, on_progress, check).run(dry_run=dry_run))
        if copies[-1].state is CopyState.COPIED:
            bring_marks_of(point, source.marks.of(point.ref), source, target)
    if not dry_run:
        bring_marks(source, target)
        bring_proofs(source, target)
        bring_file_lists(source, target)
        bring_recoveries(source, target)
    return CopyReport(source=source.location, target=target.location, points=tuple(copies))


def _load(source: Repository, ref: str) -> RestorePoint | PointCopy:
    """Load a point. If it cannot be read, return its outcome, so that the other points are still copied."""
    try:
        return source.load_point(ref)
    except NotFoundError:
        if ref in source.point_refs():
            return PointCopy(ref=ref, state=CopyState.FAILED, problem=f"{ref} is not the name of a restore point")
        return PointCopy(ref=ref, state=CopyState.GONE, problem="gone: removed meanwhile, so there is nothing to copy")
    except CorruptError as error:
        return PointCopy(ref=ref, state=CopyState.FAILED, problem=str(error))


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


class _PointJob:
    """The copy of one point."""

    def __init__(
        self,
        source: Repository,
        target: Repository,
        point: RestorePoint,
        phase: str,
        verify: Verify,
        on_progress: OnProgress,
        check: Callable[[], None],
    ) -> None:
        self._source = source
        self._target = target
        self._point = point
        self._phase = phase
        self._verify = verify
        self._on_progress = on_progress
        self._check = check
        self._run = copied_run(point, source)

    def run(self, *, dry_run: bool) -> PointCopy:
        """Copy the point, unless the target has it. Return the outcome."""
        try:
            if find_twin(self._point, self._source, self._target) is not None:
                return PointCopy(ref=self._point.ref, state=CopyState.PRESENT)
            return self._plan() if dry_run else self._insist()
        except (ConflictError, CorruptError) as error:
            if isinstance(now := _load(self._source, self._point.ref), PointCopy) and now.state is CopyState.GONE:
                return now  # its blocks may be gone too, which explains the error
            return PointCopy(ref=self._point.ref, state=CopyState.FAILED, problem=str(error))

    def _plan(self) -> PointCopy:
        def knows(digest: bytes) -> bool:
            return self._target.index.known(digest)

        try:
            count, size = self._total(self._jobs(based=True), knows)
        except StaleError:
            count, size = self._total(self._jobs(based=False), knows)
        return PointCopy(ref=self._point.ref, state=CopyState.PLANNED, blocks_changed=count, bytes_read=size)

    def _insist(self) -> PointCopy:
        """Copy the point. If blocks that were found in the target are gone or damaged, copy once more without them."""
        for based in (True, *(_TRIES - 2) * (False,)):
            with suppress(StaleError, _NotWholeError):
                return self._copy(based=based)
        return self._copy(based=False)

    def _copy(self, *, based: bool) -> PointCopy:
        with (
            self._target.at_work(self._run) as begun,
            self._target.open_writer(run=self._run, begun=begun) as writer,
        ):
            jobs = self._jobs(based=based)
            meter = ProgressCounter(self._phase, self._total(jobs, writer.knows)[1])
            copied, changed = {}, 0
            for root, job in jobs.items():
                done = job.run(writer, on_read=_Delta(meter, writer, self._on_progress), check=self._check)
                copied[root] = done.root
                changed += done.blocks_changed
            writer.flush()
            sealed = replace(
                self._point,
                run=self._run,
                images=tuple(replace(image, root=copied[image.root]) for image in self._point.images),
                attachments={name: copied[root] for name, root in self._point.attachments.items()},
            )
            try:
                verified = self._read_back(sealed)
            except CorruptError:  # if they are gone and not damaged, this raises another error, and a second try helps
                self._target.require_unswept([*copied.values()], run=self._run, begun=begun)
                raise
            self._target.seal(sealed, begun=begun)
        self._prove(sealed, verified)
        return PointCopy(
            ref=self._point.ref,
            state=CopyState.COPIED,
            blocks_changed=changed,
            bytes_read=meter.done,
            bytes_stored=writer.bytes_stored,
            blocks_verified=verified,
        )

    def _prove(self, copy: RestorePoint, blocks: int) -> None:
        """Keep with the copy how much of it was read back."""
        if self._verify is Verify.NONE:
            return
        share = 1.0 if self._verify is Verify.ALL else _SAMPLE
        checked = Checked(
            kind=ProofKind.DIGESTS if self._verify is Verify.ALL else ProofKind.WRITTEN,
            result=ProofResult.UNDECIDED if is_without_data(copy) else ProofResult.PASSED,
            text=f"{counted(blocks, 'block')} ({share:.0%}) of the copy match their digests",
            details={"share": share, "blocks": blocks},
        )
        try_to_record(self._target, copy.ref, checked, by="", run=self._run)

    def _jobs(self, *, based: bool) -> dict[str, MapCopy]:
        """Return the maps to copy, by root: disks, each based on a map that was copied before, then small files."""
        pair = self._nearest_pair() if based else None
        jobs: dict[str, MapCopy] = {}
        for image in self._point.images:
            what = f"restore point {self._point.ref}, {image.disk.label}"
            jobs[image.root] = MapCopy(self._source, self._target, image.root, base=_base(image, pair), what=what)
        for name, root in self._point.attachments.items():
            what = f"restore point {self._point.ref}, {name}"
            jobs.setdefault(root, MapCopy(self._source, self._target, root, what=what))
        return jobs

    def _total(self, jobs: dict[str, MapCopy], knows: Callable[[bytes], bool]) -> tuple[int, int]:
        plans = [job.plan(knows) for job in jobs.values()]
        return sum(count for count, _ in plans), sum(size for _, size in plans)

    def _nearest_pair(self) -> tuple[RestorePoint, RestorePoint] | None:
        """Return the point closest in time that both repositories can read, once from each of them."""
        for there in self._candidates():
            if share_digests(self._source, self._target):
                return there, there
            try:
                here = find_twin(there, self._target, self._source)
            except CorruptError:
                continue
            if here is not None and not _is_damaged(self._source, here):
                return here, there
        return None

    def _candidates(self) -> Iterator[RestorePoint]:
        """Yield the VM's undamaged points in the target: first the latest before this one, then the others."""
        names = list(self._target.manifests.names(self._point.vm.key))
        before = [name for name in names if name.stamp <= self._point.stamp]
        for name in (*reversed(before), *(name for name in names if name.stamp > self._point.stamp)):
            try:
                point = self._target.manifests.load(name.blob)
            except (BlobNotFoundError, CorruptError):
                continue
            if not _is_damaged(self._target, point):
                yield point

    def _read_back(self, point: RestorePoint) -> int:
        """Check the point's maps in the target, and read the share of blocks that :class:`Verify` says.

        :returns: the number of blocks that were read.
        """
        if self._verify is Verify.NONE:
            return 0
        roots = {image.root: f"{point.ref}, {image.disk.label}" for image in point.images}
        roots |= {root: f"{point.ref}, {name}" for name, root in point.attachments.items()}
        count = 0
        for root, what in roots.items():
            try:
                blocks, _ = verify_disk(
                    self._target,
                    root,
                    sample=1.0 if self._verify is Verify.ALL else _SAMPLE,
                    on_progress=self._on_progress,
                    check=self._check,
                    what=f"copy of restore point {what}",
                )
            except CorruptError as error:
                raise _NotWholeError(str(error)) from error
            count += blocks
        return count


class _NotWholeError(CorruptError):
    """The copied content cannot be read back."""


class _Delta:
    """Feeds one map's progress into the meter of its point."""

    def __init__(self, meter: ProgressCounter, writer: BlockWriter, on_progress: OnProgress) -> None:
        self._meter = meter
        self._writer = writer
        self._on_progress = on_progress
        self._last = 0

    def __call__(self, read: int) -> None:
        self._meter.add(read - self._last)
        self._last = read
        self._on_progress(self._meter.event(stored=self._writer.bytes_stored))


def _base(image: DiskImage, pair: tuple[RestorePoint, RestorePoint] | None) -> CopyBase | None:
    """Return the base of a disk's copy: the same disk in a point that both repositories have."""
    if pair is None:
        return None
    roots = [next((old.root for old in point.images if old.disk.key == image.disk.key), None) for point in pair]
    if roots[0] is None or roots[1] is None:
        return None
    return CopyBase(source_root=roots[0], target_root=roots[1])


def _is_damaged(repository: Repository, point: RestorePoint) -> bool:
    return repository.marks.damage_of(point.ref) is not None
