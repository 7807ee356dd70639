"""Opens the files that a VMDK names as its extents. All lie in its folder."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.neighbours import neighbour
from vmkeep.formats.openfiles import OpenFiles
from vmkeep.formats.vmdk.descriptor import DescribedExtent, Descriptor
from vmkeep.formats.vmdk.extents import FlatTables, Tables, ZeroTables, open_cowd, open_sesparse, require_length
from vmkeep.formats.vmdk.grains import Part
from vmkeep.formats.vmdk.header import MAGIC
from vmkeep.formats.vmdk.hosted import CompressedGrains, HostedHeader, open_hosted, read_hosted
from vmkeep.lateclass import dataclass

_HEAD = 512
_OTHER_HANDLES = 100
"""Files that the process has open for other things, generously."""
_ELSEWHERE = ("vsan://", "vvol://", "objpath:")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenExtent:
    """An extent of a disk, with its file open."""

    start: int
    """First byte of the disk in it."""
    length: int
    tables: Tables
    file: ImageFile | None
    grains: CompressedGrains | None = None
    grain: int = 0
    """Bytes of a compressed grain."""

    def fill(self, part: Part, buffer: memoryview) -> None:
        """Fill a buffer with a part that the extent's file holds."""
        if self.grains is not None:
            first = part.start // self.grain * self.grain
            content = self.grains.read(part.place, first, min(self.grain, self.length - first))
            buffer[:] = content[part.start - first : part.stop - first]
        elif self.file is not None:
            self.file.read_into(part.place, buffer)


def sparse_extent(file: ImageFile, hosted: HostedHeader, start: int, length: int) -> OpenExtent:
    """Open a hosted sparse extent.

    :param start: first byte of the disk in it.
    :param length: bytes of the disk in it.
    """
    tables = open_hosted(file, hosted, length)
    grain = tables.shape.grain
    grains = CompressedGrains(file, grain) if hosted.compressed else None
    return OpenExtent(start=start, length=length, tables=tables, file=file, grains=grains, grain=grain)


def open_beside(path: Path, file: ImageFile, described: Descriptor, opened: OpenFiles) -> Iterator[OpenExtent]:
    """Open the extents that a descriptor names."""
    _require_handles(file, len({extent.file for extent in described.extents}))
    start = 0
    files = _Files(path, file, opened)
    for extent in described.extents:
        yield _open_extent(files, file, extent, start)
        start += extent.length


def _require_handles(image: ImageFile, files: int) -> None:
    """Return if this process may open all files of an image at a time."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and files + _OTHER_HANDLES > most:
        raise UsageError(
            f"{image.name}: has {files} files, and this process may open {most}: allow more of them first, by"
            f" 'ulimit -n {files + 2 * _OTHER_HANDLES}'"
        )


class _Files:
    """The files of an image's extents. Several flat extents may share one."""

    def __init__(self, path: Path, image: ImageFile, opened: OpenFiles) -> None:
        self._path = path
        self._image = image
        self._opened = opened
        self._files: dict[str, ImageFile] = {}
        self._taken: dict[tuple[int, int], int] = {}

    def open(self, name: str) -> ImageFile:
        """Open a file, or return it if it is open."""
        if name not in self._files:
            self._files[name] = self._opened.add(open_file(self._path, name, "extent"))
        return self._files[name]

    def take(self, file: ImageFile, start: int, stop: int) -> None:
        """Note the bytes of a file that an extent takes.

        :raises UsageError: another extent has them already.
        """
        if file.identity == self._image.identity or start < self._taken.get(file.identity, 0):
            raise UsageError(f"{self._image.name}: names byte {start} of {file.name} for two things")
        self._taken[file.identity] = stop


def _open_extent(files: _Files, image: ImageFile, extent: DescribedExtent, start: int) -> OpenExtent:
    if extent.kind == "ZERO":
        return OpenExtent(start=start, length=extent.length, tables=ZeroTables(), file=None)
    if extent.kind not in ("FLAT", "VMFS", "SPARSE", "VMFSSPARSE", "SESPARSE"):
        raise UnsupportedError(f"{image.name}: has an extent of the kind {extent.kind[:40]}, which cannot be read")
    if extent.file.lower().startswith(_ELSEWHERE):
        raise UnsupportedError(
            f"{image.name}: its data is on vSAN or a vVol ({extent.file[:100]}), and not in a file beside it"
        )
    file = files.open(extent.file)
    if extent.kind in ("FLAT", "VMFS"):
        files.take(file, extent.offset, extent.offset + extent.length)
        tables: Tables = FlatTables(file, extent.offset, extent.length)
        return OpenExtent(start=start, length=extent.length, tables=tables, file=file)
    files.take(file, 0, max(1, file.size))
    head = file.read(0, min(file.size, _HEAD))
    if head.startswith(MAGIC) and len(head) == _HEAD:
        hosted = read_hosted(file)
        require_length(file, hosted.capacity, extent.length)
        return sparse_extent(file, hosted, start, extent.length)
    opened = (open_sesparse if extent.kind == "SESPARSE" else open_cowd)(file, extent.length)
    return OpenExtent(start=start, length=extent.length, tables=opened, file=file)


def open_file(path: Path, name: str, what: str) -> ImageFile:
    """Open a regular file beside the image, and nothing else, because a descriptor of a stranger could name a disk."""
    found = neighbour(path, name, what=what)
    if not found.is_file():
        raise UsageError(f"{path}: its {what} {name[:200]!r} is no file")
    return ImageFile(found)
