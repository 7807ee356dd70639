"""Puts another point of the same VM onto an export: writes only the blocks in which the two points differ.

The manifest names the root of the map that each image holds, so the difference comes from two maps, and no image is
read for it. Before the first write, the manifest says which map each image is to hold. So tries that were killed are
made up for by the next one: every block that differs from any map that was begun is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from vmkeep.errors import ConflictError
from vmkeep.images.appliedimages import AppliedImage
from vmkeep.images.applyplans import plan_apply
from vmkeep.images.exportmanifests import find_manifest, load_manifest, require_same, store_manifest
from vmkeep.images.imagelocks import locked_image
from vmkeep.lateclass import dataclass
from vmkeep.model.exports import ExportedPoint
from vmkeep.model.extents import total
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress


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
    exported = load_manifest(manifest)
    if exported.converted:
        raise ConflictError(
            f"{manifest}: its guest was converted on overlays, which a change of the images below would destroy; "
            "nothing was written: export the point anew"
        )
    works = plan_apply(repository, point, exported, manifest)
    resumed = any(disk.applying for disk in exported.disks)
    compared = [0] * len(works)
    if not dry_run:
        compared = _put_on(
            repository, point, manifest, exported, works, verify=Verify.ALL if resumed else verify, warnings=warnings,
            on_progress=on_progress, check=check,
        )  # fmt: skip
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


def _put_on(
    repository: Repository,
    point: RestorePoint,
    manifest: Path,
    exported: ExportedPoint,
    works: Sequence[AppliedImage],
    *,
    verify: Verify,
    warnings: Sequence[str],
    on_progress: Callable[[str], OnProgress],
    check: Callable[[], None],
) -> list[int]:
    """Write the images, between two changes of their manifest. Return the bytes of each that were compared.

    Each image is locked from before the first change until after the second one.
    """
    with ExitStack() as stack:
        locked = [stack.enter_context(locked_image(work.path)) for work in works]
        require_same(manifest, exported)
        for work in works:
            work.require_untouched(repository, manifest, on_progress=on_progress(work.disk.label), check=check)
            work.require_writable()
        marked = _marked(exported, works)
        store_manifest(manifest, marked)
        compared = [
            work.write(repository, verify, on_progress=on_progress(work.disk.label), check=check) for work in works
        ]
        for image in locked:
            image.require_there()
        require_same(manifest, marked)
        finished = replace(_finished(repository, marked, point, works, compared), warnings=tuple(warnings))
        store_manifest(manifest, finished)
    return compared


def _marked(exported: ExportedPoint, works: Sequence[AppliedImage]) -> ExportedPoint:
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
    works: Sequence[AppliedImage],
    compared: Sequence[int],
) -> ExportedPoint:
    """Return the manifest of the images as they are now."""
    disks = (
        replace(
            work.disk,
            root=work.image.root,
            applying=(),
            files=work.files(),
            bytes_written=total(repository.open_map(work.image.root, what=work.what).stored_extents()),
            bytes_compared=count,
        )
        for work, count in zip(works, compared, strict=True)
    )
    return replace(exported, point=point.ref, disks=tuple(disks))
