"""An image of an export onto which another point is put.

An image that somebody has changed, for example because it was booted, would become a mixture of two disks. It is
refused: an image that the file system does not prove to be as it was written (``filestates``) is compared with its map
whole, every other one by a sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from vmkeep.errors import ConflictError, VerificationError
from vmkeep.formats import ImageSource, Qcow2Target, open_qcow2, open_qcow2_target
from vmkeep.images.diskfiles import LocalFileSource, LocalFileTarget
from vmkeep.images.filestates import is_unwritten, settled_state
from vmkeep.lateclass import dataclass
from vmkeep.model.exports import ExportedDisk, ImageFormat, WrittenFile
from vmkeep.model.extents import Extents, complement
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import DiskImage
from vmkeep.repository import Repository
from vmkeep.transfer import compare_disk, restore_disk
from vmkeep.transfer.progress import OnProgress

_JOINED: Final = 4 << 20
"""Bytes up to which neighbouring blocks are one write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedImage:
    """One image of the export, and the disk of the point that it is to hold."""

    disk: ExportedDisk
    image: DiskImage
    form: ImageFormat
    path: Path
    changed: Extents
    """Extents in which the image may differ from the point."""
    whole: bool
    """The map that the image holds is gone, so that these are the whole disk."""

    @property
    def what(self) -> str:
        """Name of the disk in errors."""
        return f"{self.path}, {self.disk.label}"

    def require_untouched(
        self, repository: Repository, manifest: Path, *, on_progress: OnProgress, check: Callable[[], None]
    ) -> None:
        """Refuse an image that is not what its manifest says, because a person may need what it holds instead.

        :raises ConflictError: somebody has changed it, or nobody can tell.
        """
        began = bool(self.disk.applying)
        unwritten = is_unwritten(self.path, self._state(), manifest)
        if self.whole:
            if not unwritten and not began:
                raise ConflictError(
                    f"{self.path}: was written to or copied since its export, and its point is gone, so that nobody "
                    "can tell whether it was changed, e.g. because it was booted; nothing was written: export the "
                    "point anew"
                )
            return
        try:
            with self._open_source() as source:
                compare_disk(
                    source,
                    repository,
                    self.disk.root,
                    verify=Verify.SAMPLE if unwritten or began else Verify.ALL,
                    only=complement(self.changed, self.disk.capacity) if began else None,
                    on_progress=on_progress,
                    check=check,
                    what=self.what,
                )
        except VerificationError as error:
            raise ConflictError(
                f"{self.path}: was changed since it was written, e.g. because it was booted; nothing was written now: "
                f"export the point anew ({error})"
            ) from error

    def require_writable(self) -> None:
        """Refuse an image that takes no writes at the blocks that differ, before any of them is written.

        :raises UnsupportedError: other programs have made it such an image, e.g. by compressing it.
        """
        with self._open_target() as target:
            if isinstance(target, Qcow2Target):
                target.require_writable(self.changed)

    def write(
        self, repository: Repository, verify: Verify, *, on_progress: OnProgress, check: Callable[[], None]
    ) -> int:
        """Write the blocks that differ, and read them back. Return the bytes that were compared.

        :raises VerificationError: the image reads back something else than was written.
        :raises CorruptError: a stored block is damaged.
        """
        if self.changed:
            with self._open_target() as target:
                restore_disk(
                    repository,
                    self.image.root,
                    target,
                    fresh=False,
                    only=self.changed,
                    on_progress=on_progress,
                    check=check,
                    what=self.what,
                    at_most=_JOINED,
                )
        if verify is Verify.NONE:
            return 0
        with self._open_source() as source:
            return compare_disk(
                source,
                repository,
                self.image.root,
                verify=verify,
                only=None if verify is Verify.ALL else self.changed,
                on_progress=on_progress,
                check=check,
                what=self.what,
            )

    def _open_source(self) -> ImageSource | LocalFileSource:
        if self.form is ImageFormat.QCOW2:
            source: ImageSource | LocalFileSource = open_qcow2(self.path)
        else:
            source = LocalFileSource(self.path)
        if source.capacity != self.disk.capacity:
            source.__exit__(None, None, None)
            raise ConflictError(f"{self.path}: has {source.capacity} bytes, and its manifest says {self.disk.capacity}")
        return source

    def _open_target(self) -> Qcow2Target | LocalFileTarget:
        if self.form is ImageFormat.QCOW2:
            return open_qcow2_target(self.path)
        return LocalFileTarget(self.path, capacity=self.disk.capacity, create=False)

    def _state(self) -> str | None:
        """Return the state of an image by its manifest."""
        return next((file.state for file in self.disk.files if file.name == self.path.name), None)

    def files(self) -> tuple[WrittenFile, ...]:
        """Return the files of an image as they are now.

        The file with the disk's bytes has no digest, because that would take a read of all of it. An image into which
        nothing was written keeps its own.
        """
        if not self.changed:
            return self.disk.files
        return tuple(
            replace(file, size=self.path.stat().st_size, sha256=None, state=settled_state(self.path))
            if file.name == self.path.name
            else file
            for file in self.disk.files
        )
