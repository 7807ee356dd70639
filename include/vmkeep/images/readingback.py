"""Reads the images of a draft back, and compares them with the disks that they should hold.

In a folder, a reader of the format opens the image as any program would, and each block's digest is compared with the
map. On S3, and of an OVA, parts of the files are compared with what was written; each block in them was checked before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError, VerificationError
from vmkeep.formats import open_qcow2, open_vmdk
from vmkeep.images.diskfiles import LocalFileSource
from vmkeep.images.drafts import Draft
from vmkeep.model.blockio import DiskSource
from vmkeep.model.exports import ExportedDisk, ImageFormat
from vmkeep.model.overwrite import Verify
from vmkeep.repository import Repository
from vmkeep.transfer import compare_disk
from vmkeep.transfer.progress import OnProgress, ProgressCounter

_READERS: Final[Mapping[ImageFormat, Callable[[Path], AbstractContextManager[DiskSource]]]] = {
    ImageFormat.RAW: LocalFileSource,
    ImageFormat.QCOW2: open_qcow2,
}
"""Readers by format. All other formats that are read as images are kinds of VMDK."""
_ALL_BELOW: Final = 64 << 20
"""Bytes of a file on S3 up to which all of it is read back. Of a larger one, a sample is."""
_SHARES: Final = 64
"""A sample is one of this many shares."""


def read_back(
    repository: Repository,
    draft: Draft,
    disk: ExportedDisk,
    form: ImageFormat,
    verify: Verify,
    *,
    on_progress: OnProgress,
    check: Callable[[], None],
    what: str,
) -> int:
    """Compare an image in a complete draft with its disk, or a sample of it. Return the bytes that were compared.

    :raises VerificationError: the image holds something else. The message names the place.
    """
    if verify is Verify.NONE:
        return 0
    if draft.folder is None or form is ImageFormat.OVA:
        return _compare_parts(draft, disk, verify, on_progress=on_progress, check=check)
    try:
        with _READERS.get(form, open_vmdk)(draft.folder / disk.files[0].name) as source:
            return compare_disk(
                source, repository, disk.root, verify=verify, on_progress=on_progress, check=check, what=what
            )
    except UsageError as error:  # the reader's word for a damaged image
        raise VerificationError(f"{what}: the image reads back damaged: {error}; nothing was exported") from error


def _compare_parts(
    draft: Draft, disk: ExportedDisk, verify: Verify, *, on_progress: OnProgress, check: Callable[[], None]
) -> int:
    meter = ProgressCounter(
        "read back", sum(file.size for file in disk.files) // (1 if verify is Verify.ALL else _SHARES)
    )

    def count(length: int) -> None:
        check()
        meter.add(length)
        on_progress(meter.event())

    for file in disk.files:
        everything = verify is Verify.ALL or file.size <= _ALL_BELOW
        draft.compare(file.name, _every_part if everything else _some_parts, count)
    return meter.done


def _every_part(_number: int, _digest: bytes) -> bool:
    return True


def _some_parts(number: int, digest: bytes) -> bool:
    return not number or digest[0] % _SHARES == 0
