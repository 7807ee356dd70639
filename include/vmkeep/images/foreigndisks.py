"""Opens single disk images of other programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError
from vmkeep.formats import ImageFile, ImageSource, ImportFormat
from vmkeep.images.diskfiles import LocalFileSource
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import DiskSource
from vmkeep.model.extents import total
from vmkeep.model.portable import PortableDisk, PortableMachine
from vmkeep.transfer.progress import OnProgress

_MOST_COMPRESSED: Final = 1 << 14
"""No image holds more bytes of a disk than this times its size. Deflate reaches 1032, and zstd about 10,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignDisk:
    """An open disk."""

    path: Path
    """The file that a person named, for messages."""
    name: str
    """Name of its file, without folder."""
    format: ImportFormat
    source: DiskSource
    files: tuple[ImageFile, ...] = ()
    """The files that it is read from, also those of its parents; of a raw disk none, because ``path`` is its file."""
    place: PortableDisk | None
    """Where its machine has it; ``None``: no machine is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """Open disks, and their machine if it is known."""

    disks: tuple[ForeignDisk, ...]
    machine: PortableMachine | None
    formats: tuple[str, ...]
    """One phrase for each file: its name and the format that it was taken for."""
    notes: tuple[str, ...]
    """One sentence for each thing that a person should know."""
    nvram: bytes | None = None
    """The firmware's own memory; ``None``: it is not known."""
    finish: Callable[[OnProgress], None]
    """Waits until each file is compared with the manifest. Raises an error if one differs, or was changed meanwhile. To
    be called before the restore point is sealed."""


def open_image(path: Path, form: ImportFormat, stack: ExitStack) -> ForeignDisk:
    """Open an image that is a file of its own, until the stack is left."""
    if form is ImportFormat.RAW:
        raw = stack.enter_context(LocalFileSource(path))
        return ForeignDisk(path=path, name=path.name, format=form, source=raw, place=None)
    source = open_image_as(form, path, None, stack)
    return ForeignDisk(path=path, name=path.name, format=form, source=source, files=source.files, place=None)


def open_image_as(form: ImportFormat, path: Path, file: ImageFile | None, stack: ExitStack) -> ImageSource:
    """Open an image of a format other than raw.

    :param file: its open file; ``None``: the one at the path.
    """
    if form is ImportFormat.QCOW2:
        from vmkeep.formats import open_qcow2  # takes time to import

        return stack.enter_context(open_qcow2(path, file=file))
    from vmkeep.formats import open_vmdk  # takes time to import

    return stack.enter_context(open_vmdk(path, file=file))


def require_content(disk: ForeignDisk) -> None:
    """Return if the files of an image can hold the data that its tables tell, however well it is compressed.

    :raises UsageError: they cannot, so that many of its tables name the same place, and reading might never end.
    """
    files = {file.identity: file.size for file in disk.files}
    told = total(disk.source.allocated() or ()) if files else 0
    if told > sum(files.values()) * _MOST_COMPRESSED:
        raise UsageError(
            f"{disk.path}: is damaged or made to do harm: its tables tell of {told} bytes of data, and its files have "
            f"{sum(files.values())} bytes"
        )


def told_formats(disks: Sequence[ForeignDisk]) -> tuple[str, ...]:
    """Return a phrase for each disk: its file and its format."""
    return tuple(f"{shown(disk.name)}: {disk.format}" for disk in disks)


def noted(disks: Sequence[ForeignDisk]) -> tuple[str, ...]:
    """Return sentences that a person should know about the images."""
    return tuple(note for disk in disks for note in getattr(disk.source, "notes", ()))


def shown(name: str) -> str:
    """Return a file's name as a text that a terminal may get, because the name can have any bytes."""
    return printable(os.fsencode(name).decode(errors="replace"))


def printable(text: str) -> str:
    """Return a text without characters that change a terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
