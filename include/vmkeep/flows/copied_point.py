"""Copies one restore point to a second repository.

Each map of the point is copied on top of the same map of a point that both repositories have, if there is one. The
blocks are read back before the point is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, NotFoundError, StaleError
from vmkeep.flows.check_values import Checked
from vmkeep.flows.copy_values import CopyState, PointCopy, Verify
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


def load_or_tell(source: Repository, ref: str) -> RestorePoint | PointCopy:
    """Load a point. If it cannot be read, return the outcome of its copy, so that the other points are still copied."""
    try:
        return source.load_point(ref)
    except NotFoundError:
        if ref in source.point_refs():
            return PointCopy(ref=ref, state=CopyState.FAILED, problem=f"{ref} is not the name of a restore point")
        return PointCopy(ref=ref, state=CopyState.GONE, problem="gone: removed meanwhile, so there is nothing to copy")
    except CorruptError as error:
        return PointCopy(ref=ref, state=CopyState.FAILED, problem=str(error))


class PointJob:
    """The copy of one point.

    :param phase: the name of the work in its progress.
    :param verify: the share of the copy that is read back before it is sealed.
    :param check: called now and then. An error that it raises ends the copy.
    """

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
        """Copy the point, unless the target has it. Return the outcome; damage is an outcome, too."""
        try:
            if find_twin(self._point, self._source, self._target) is not None:
                return PointCopy(ref=self._point.ref, state=CopyState.PRESENT)
            return self._plan() if dry_run else self._insist()
        except (ConflictError, CorruptError) as error:
            if (
                isinstance(now := load_or_tell(self._source, self._point.ref), PointCopy)
                and now.state is CopyState.GONE
            ):
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
            writer.flush(self._check)
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
