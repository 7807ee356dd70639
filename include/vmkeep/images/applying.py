"""Puts another point of the same VM onto an export: writes only the blocks in which the two points differ.

The manifest names the root of the map that each image holds, so the difference comes from two maps, and no image is
read for it. Before the first write, the manifest says which map each image is to hold. So tries that were killed are
made up for by the next one: every block that differs from any map that was begun is written again.

An image that somebody has changed, for example because it was booted, would become a mixture of two disks. It is
refused: an image that the file system does not prove to be as it was written (``filestates``) is compared with its map
whole, every other one by a sample.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from vmkeep.blobs import sync_folder
from vmkeep.errors import (
    ConflictError,
    CorruptError,
    NotFoundError,
    StaleError,
    UnsupportedError,
    UsageError,
    VerificationError,
)
from vmkeep.formats import ImageSource, Qcow2Target, open_qcow2, open_qcow2_target
from vmkeep.images.diskfiles import LocalFileSource, LocalFileTarget
from vmkeep.images.filestates import is_unwritten, state_of
from vmkeep.images.imagelocks import locked_image
from vmkeep.model.exports import MANIFEST, ExportedDisk, ExportedPoint, ImageFormat, WrittenFile, parse_manifest
from vmkeep.model.extents import Extent, Extents, complement, gather, total, unite
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.repository import DiskMap, Repository
from vmkeep.transfer import compare_disk, restore_disk
from vmkeep.transfer.progress import OnProgress

_LARGEST: Final = 16 << 20
_IN_PLACE: Final = {ImageFormat.RAW: 0, ImageFormat.QCOW2: 0, ImageFormat.FLAT: 1}
"""The formats that can be written in place, with the number of the file that holds the disk's bytes."""
_JOINED: Final = 4 << 20
"""Bytes up to which neighbouring blocks are one write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedDisk:
    """An image, and the work that putting the point onto it took, or would take."""

    label: str
    file: str
    bytes_changed: int
    """Bytes in which the two points differ, by whole blocks."""
    bytes_compared: int = 0
    """Bytes that were read back and compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPoint:
    """A point on an export."""

    manifest: str
    """The manifest's path."""
    before: str
    """Ref of the point that the images held."""
    point: str
    resumed: bool
    """An earlier try did not come to its end."""
    whole: bool
    """The map of the point before is gone, so that every block was written."""
    beside: tuple[str, ...]
    """Names of the export's other files, which tell of the machine as it was when it was exported."""
    disks: tuple[AppliedDisk, ...]
    warnings: tuple[str, ...] = ()
    """Sentences about disks of the VM that are not in the point, and about marks that the point has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One image of the export, and the disk of the point that it is to hold."""

    disk: ExportedDisk
    image: DiskImage
    form: ImageFormat
    path: Path
    changed: Extents
    whole: bool

    @property
    def what(self) -> str:
        """Name of the disk in errors."""
        return f"{self.path}, {self.disk.label}"


def find_manifest(path: Path) -> Path:
    """Return the manifest that a person means: itself, or the one beside an image that it names.

    :raises NotFoundError: there is none.
    :raises UnsupportedError: it is on S3.
    """
    if path.parts[:1] == ("s3:",):
        raise UnsupportedError(f"{path}: images on S3 cannot be changed in place: export the point anew")
    if not path.exists():
        raise NotFoundError(f"{path}: there is no such file")
    if path.name.endswith(MANIFEST):
        return path
    for manifest in sorted(path.parent.glob(f"*{MANIFEST}")):
        exported = _load(manifest)
        if any(file.name == path.name for disk in exported.disks for file in disk.files):
            return manifest
    raise NotFoundError(
        f"{path}: no manifest beside it names it (NAME{MANIFEST}); only images that 'point export' wrote can be changed"
    )


def apply_point(
    repository: Repository,
    point: RestorePoint,
    path: Path,
    *,
    dry_run: bool = False,
    verify: Verify = Verify.SAMPLE,
    warnings: Sequence[str] = (),
    on_progress: Callable[[str], OnProgress],
    check: Callable[[], None] = lambda: None,
) -> AppliedPoint:
    """Make the images of an export hold another point of the same VM, earlier or later.

    :param path: the manifest, or an image that it names.
    :param dry_run: only say what would be written.
    :param verify: how much of an image is read back. After a try that was killed, all of it is.
    :param warnings: sentences about the point that its manifest keeps.
    :param on_progress: makes the function that takes the progress of a disk, from the disk's name.
    :raises ConflictError: an image was changed since it was written, is in use, or is of another disk.
    :raises UnsupportedError: images of this format cannot be changed in place.
    :raises CorruptError: a stored block is damaged. The next try goes on.
    """
    manifest = find_manifest(path)
    with ExitStack() as stack:
        exported = _load(manifest)
        if exported.converted:
            raise ConflictError(
                f"{manifest}: its guest was converted on overlays, which a change of the images below would destroy; "
                "nothing was written: export the point anew"
            )
        works = _plan(repository, point, exported, manifest)
        resumed = any(disk.applying for disk in exported.disks)
        if not dry_run:
            locked = [stack.enter_context(locked_image(work.path)) for work in works]
            _require_same(manifest, exported)
            for work in works:
                _require_untouched(repository, work, manifest, on_progress(work.disk.label), check)
                _require_writable(work)
            exported = _marked(exported, works)
            _store(manifest, exported)
            compared = [
                _apply(repository, work, Verify.ALL if resumed else verify, on_progress(work.disk.label), check)
                for work in works
            ]
            for image in locked:
                image.require_there()
            _require_same(manifest, exported)
            finished = replace(_finished(repository, exported, point, works, compared), warnings=tuple(warnings))
            _store(manifest, finished)
        else:
            compared = [0] * len(works)
    return AppliedPoint(
        manifest=str(manifest),
        before=exported.point,
        point=point.ref,
        resumed=resumed,
        whole=any(work.whole for work in works),
        warnings=tuple(warnings),
        beside=tuple(file.name for file in exported.beside),
        disks=tuple(
            AppliedDisk(
                label=work.disk.label,
                file=work.path.name,
                bytes_changed=total(work.changed),
                bytes_compared=count,
            )
            for work, count in zip(works, compared, strict=True)
        ),
    )


def _load(manifest: Path) -> ExportedPoint:
    try:
        with manifest.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise NotFoundError(f"{manifest}: cannot be read: {error.strerror}") from error
    return parse_manifest(content, what=str(manifest))


def _plan(repository: Repository, point: RestorePoint, exported: ExportedPoint, manifest: Path) -> list[_Work]:
    """Compare the export with the point, and find the blocks that differ. Changes nothing."""
    if exported.format not in _IN_PLACE:
        raise UnsupportedError(
            f"{manifest}: images of format {exported.format} cannot be changed in place: export as {_named()}"
        )
    if exported.repository != repository.descriptor.id:
        raise ConflictError(f"{manifest}: was exported from another repository ({exported.repository})")
    if exported.point.rpartition("/")[0] != point.ref.rpartition("/")[0]:
        raise ConflictError(f"{manifest}: holds {exported.point}, and {point.ref} is a point of another VM")
    images = {image.disk.key: image for image in point.images}
    works = []
    for disk in exported.disks:
        image = images.get(disk.device_key)
        if image is None:
            raise ConflictError(f"{manifest}: {point.ref} holds no {disk.label}; export that point anew")
        if image.disk.capacity != disk.capacity:
            raise ConflictError(
                f"{manifest}: {disk.label} has {disk.capacity} bytes, and {image.disk.capacity} in {point.ref}; export "
                "that point anew"
            )
        changed, whole = _changed(repository, disk, image)
        path = manifest.parent / _data_file(manifest, exported.format, disk)
        works.append(_Work(disk=disk, image=image, form=exported.format, path=path, changed=changed, whole=whole))
    return works


def _named() -> str:
    return " or ".join(_IN_PLACE)


def _data_file(manifest: Path, form: ImageFormat, disk: ExportedDisk) -> str:
    """Return the name of the file that holds a disk's bytes."""
    at = _IN_PLACE[form]
    if at >= len(disk.files):
        raise UsageError(f"{manifest}: names no file with the bytes of {disk.label}")
    return disk.files[at].name


def _changed(repository: Repository, disk: ExportedDisk, image: DiskImage) -> tuple[Extents, bool]:
    """Return the extents in which the image may differ from the point, and whether they are all of the disk."""
    try:
        found = Extents()
        for root in {disk.root, *disk.applying}:
            if root != image.root:
                found = unite(found, gather(_differing(repository, root, image)))
    except StaleError:
        return Extents([Extent(0, disk.capacity)]), True
    return found, False


def _differing(repository: Repository, root: str, image: DiskImage) -> Iterator[tuple[int, int]]:
    new, old = repository.open_map(image.root), _open_old(repository, root)
    for block, _ in new.differences(old):
        extent = new.shape.extent(block, block + 1)
        yield extent.start, extent.stop


def _open_old(repository: Repository, root: str) -> DiskMap:
    """Return the map that an image holds.

    :raises StaleError: it is gone or damaged, because its point was deleted.
    """
    try:
        return repository.open_map(root)
    except CorruptError as error:
        raise StaleError(f"the map that the image holds is gone: {error}") from error


def _require_same(manifest: Path, exported: ExportedPoint) -> None:
    """Refuse if another process has changed the manifest since it was read or written here."""
    if _load(manifest) != exported:
        raise ConflictError(f"{manifest}: another process has just changed this export; look at it, and try again")


def _require_untouched(
    repository: Repository, work: _Work, manifest: Path, on_progress: OnProgress, check: Callable[[], None]
) -> None:
    """Refuse an image that is not what its manifest says, because a person may need what it holds instead."""
    began = bool(work.disk.applying)
    unwritten = is_unwritten(work.path, _state(work), manifest)
    if work.whole:
        if not unwritten and not began:
            raise ConflictError(
                f"{work.path}: was written to or copied since its export, and its point is gone, so that nobody can "
                "tell whether it was changed, e.g. because it was booted; nothing was written: export the point anew"
            )
        return
    try:
        with _open_source(work) as source:
            compare_disk(
                source,
                repository,
                work.disk.root,
                verify=Verify.SAMPLE if unwritten or began else Verify.ALL,
                only=complement(work.changed, work.disk.capacity) if began else None,
                on_progress=on_progress,
                check=check,
                what=work.what,
            )
    except VerificationError as error:
        raise ConflictError(
            f"{work.path}: was changed since it was written, e.g. because it was booted; nothing was written now: "
            f"export the point anew ({error})"
        ) from error


def _require_writable(work: _Work) -> None:
    """Refuse an image that takes no writes at the blocks that differ, before any of them is written.

    :raises UnsupportedError: other programs have made it such an image, e.g. by compressing it.
    """
    with _open_target(work) as target:
        if isinstance(target, Qcow2Target):
            target.require_writable(work.changed)


def _apply(
    repository: Repository, work: _Work, verify: Verify, on_progress: OnProgress, check: Callable[[], None]
) -> int:
    """Write the blocks that differ, and read them back. Return the bytes that were compared."""
    if work.changed:
        with _open_target(work) as target:
            restore_disk(
                repository,
                work.image.root,
                target,
                fresh=False,
                only=work.changed,
                on_progress=on_progress,
                check=check,
                what=work.what,
                at_most=_JOINED,
            )
    if verify is Verify.NONE:
        return 0
    with _open_source(work) as source:
        return compare_disk(
            source,
            repository,
            work.image.root,
            verify=verify,
            only=None if verify is Verify.ALL else work.changed,
            on_progress=on_progress,
            check=check,
            what=work.what,
        )


def _open_source(work: _Work) -> ImageSource | LocalFileSource:
    if work.form is ImageFormat.QCOW2:
        source: ImageSource | LocalFileSource = open_qcow2(work.path)
    else:
        source = LocalFileSource(work.path)
    if source.capacity != work.disk.capacity:
        source.__exit__(None, None, None)
        raise ConflictError(f"{work.path}: has {source.capacity} bytes, and its manifest says {work.disk.capacity}")
    return source


def _open_target(work: _Work) -> Qcow2Target | LocalFileTarget:
    if work.form is ImageFormat.QCOW2:
        return open_qcow2_target(work.path)
    return LocalFileTarget(work.path, capacity=work.disk.capacity, create=False)


def _marked(exported: ExportedPoint, works: Sequence[_Work]) -> ExportedPoint:
    """Return the manifest that says which map each image is about to hold."""
    disks = []
    for work in works:
        begun = dict.fromkeys((*work.disk.applying, work.image.root)) if work.changed else ()
        disks.append(replace(work.disk, applying=tuple(begun)))
    return replace(exported, disks=tuple(disks))


def _finished(
    repository: Repository,
    exported: ExportedPoint,
    point: RestorePoint,
    works: Sequence[_Work],
    compared: Sequence[int],
) -> ExportedPoint:
    """Return the manifest of the images as they are now."""
    disks = (
        replace(
            work.disk,
            root=work.image.root,
            applying=(),
            files=_files(work),
            bytes_written=total(repository.open_map(work.image.root, what=work.what).stored_extents()),
            bytes_compared=count,
        )
        for work, count in zip(works, compared, strict=True)
    )
    return replace(exported, point=point.ref, disks=tuple(disks))


def _state(work: _Work) -> str | None:
    """Return the state of an image by its manifest."""
    return next((file.state for file in work.disk.files if file.name == work.path.name), None)


def _files(work: _Work) -> tuple[WrittenFile, ...]:
    """Return the files of an image as they are now.

    The file with the disk's bytes has no digest, because that would take a read of all of it. An image into which
    nothing was written keeps its own.
    """
    if not work.changed:
        return work.disk.files
    return tuple(
        replace(file, size=work.path.stat().st_size, sha256=None, state=state_of(work.path))
        if file.name == work.path.name
        else file
        for file in work.disk.files
    )


def _store(manifest: Path, exported: ExportedPoint) -> None:
    """Replace the manifest, durably."""
    partial = manifest.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        try:
            opened = os.open(partial, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "wb") as file:
                os.fchmod(opened, stat.S_IMODE(manifest.stat().st_mode))
                file.write(exported.encode())
                file.flush()
                os.fsync(file.fileno())
            partial.replace(manifest)
            sync_folder(manifest.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{manifest}: cannot be written: {error.strerror}") from error
