"""Writes the disk of one job, and reads it back: first a look at an existing disk, then the write, then the comparison.

If blocks were left out and the comparison finds something else than the point holds, every block is written, and the
disk is compared again. A second mismatch fails the restore. Blocks are left out if they did not change since the point,
and if an earlier try of this write has written them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from vmkeep.errors import ConflictError, VerificationError
from vmkeep.lateclass import dataclass
from vmkeep.model.diskaccess import DiskAccess
from vmkeep.model.extents import Extents, overlaps, total
from vmkeep.model.job import WriteJob
from vmkeep.model.overwrite import Blocks, Verify
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.transfer.compare import compare_disk
from vmkeep.transfer.overwriting import Part, choose_part, whole
from vmkeep.transfer.progress import OnProgress
from vmkeep.transfer.writelog import WriteLog
from vmkeep.transfer.writing import restore_disk

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The outcome of a write, with its counts in bytes."""

    part: Part
    written: int
    zeroed: int
    compared: int
    resumed: int
    """Bytes that earlier tries have written."""
    transport: str


class TargetDisk:
    """The target disk of one job."""

    def __init__(
        self,
        access: DiskAccess,
        repository: Repository,
        job: WriteJob,
        root: str,
        *,
        settle: Callable[[str], None],
        on_progress: OnProgress,
        check: Callable[[], None],
    ) -> None:
        """:param settle: takes the transport mode of the open disk; see :func:`vmkeep.transfer.permitted.permitted`."""
        self._access = access
        self._repository = repository
        self._job = job
        self._root = root
        self._settle = settle
        self._on_progress = on_progress
        self._check = check

    def write(self) -> Written:
        """Write the disk, and compare it.

        :raises VerificationError: the disk does not hold what was written.
        """
        part = self._part()
        notes = WriteLog(self._repository.run(self._job.run), self._job, self._root, part)
        resumed = self._go_on(part, notes)
        written, zeroed, transport = self._write(part, notes)
        try:
            compared = self._compare(part)
        except VerificationError as error:
            if part.blocks is Blocks.ALL and not resumed:
                raise
            part = whole(self._repository, self._job, f"what was left out was needed: {error}")
            notes = WriteLog(self._repository.run(self._job.run), self._job, self._root, part)
            notes.forget()
            more, zeroes, transport = self._write(part, notes)
            written, zeroed, resumed = written + more, zeroed + zeroes, 0
            compared = self._compare(part)
        return Written(
            part=part, written=written, zeroed=zeroed, compared=compared, resumed=resumed, transport=transport
        )

    def _go_on(self, part: Part, notes: WriteLog) -> int:
        """Load what earlier tries have written, if nothing speaks against it. Return the number of bytes."""
        if not self._job.resumes:
            notes.forget()
            return 0
        notes.load()
        if not notes.before.is_begun:
            return 0
        done = notes.before.extents(part, block_size=self._repository.block_size, capacity=self._job.capacity)
        try:
            self._compared(Verify.SAMPLE, done)
        except VerificationError as error:
            log.warning("%s: written from its beginning: %s", self._job.target_file, error)
            notes.forget()
            return 0
        resumed = total(overlaps(self._repository.open_map(self._root).stored_extents(), done))
        log.info("%s: goes on; earlier tries have written %s", self._job.target_file, size(resumed))
        return resumed

    def _part(self) -> Part:
        choice = self._job.choice
        if choice is None or choice.blocks is Blocks.ALL:
            return Part(only=None, why="" if choice is None else choice.why)
        with self._access.open_written(self._job) as source:
            self._require_capacity(source.capacity)
            return choose_part(
                source, self._repository, self._job, self._root, on_progress=self._on_progress, check=self._check
            )

    def _write(self, part: Part, notes: WriteLog) -> tuple[int, int, str]:
        job = self._job
        with self._access.open_target(job) as target:
            self._settle(target.transport)
            self._require_capacity(target.capacity)
            log.info("%s: writing %s blocks by %s", job.target_file, part.blocks, target.transport)
            written, zeroed = restore_disk(
                self._repository,
                self._root,
                target,
                fresh=job.fresh,
                only=part.only,
                on_progress=self._on_progress,
                check=self._check,
                what=f"point {job.point}, disk {job.device_key} to {job.target_file}",
                at_most=self._access.limits.best_write,
                notes=notes,
            )
            return written, zeroed, target.transport

    def _compare(self, part: Part) -> int:
        job = self._job
        if job.verify is Verify.NONE:
            log.warning("%s: not read back, as asked", job.target_file)
            return 0
        return self._compared(job.verify, part.only)

    def _compared(self, verify: Verify, only: Extents | None) -> int:
        with self._access.open_written(self._job) as source:
            self._require_capacity(source.capacity)
            return compare_disk(
                source,
                self._repository,
                self._root,
                verify=verify,
                only=only,
                on_progress=self._on_progress,
                check=self._check,
                what=self._job.target_file,
            )

    def _require_capacity(self, found: int) -> None:
        if found != self._job.capacity:
            raise ConflictError(f"{self._job.target_file}: has {found} bytes, not {self._job.capacity} as planned")
