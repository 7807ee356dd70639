"""Reads a VMDK, and the parents beside it, as one disk."""

from __future__ import annotations

import resource
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.neighbours import neighbour
from vmkeep.formats.reading import PieceReader, read_pieces
from vmkeep.formats.vmdk.descriptor import (
    LARGEST_DESCRIPTOR,
    DescribedExtent,
    Descriptor,
    is_descriptor,
    parse_descriptor,
)
from vmkeep.formats.vmdk.extents import (
    COWD_MAGIC,
    SESPARSE_MAGIC,
    FlatTables,
    Tables,
    ZeroTables,
    open_cowd,
    open_sesparse,
    require_length,
)
from vmkeep.formats.vmdk.grains import Kind, Part
from vmkeep.formats.vmdk.header import MAGIC
from vmkeep.formats.vmdk.hosted import CompressedGrains, HostedHeader, open_hosted, read_hosted
from vmkeep.model.extents import Extent, Extents, Pair, align_out, gather, unite

_LONGEST_CHAIN = 64
_OTHER_HANDLES = 100
"""Files that the process has open for other things, generously."""
_HEAD = 512
_SECTOR = 512
_ELSEWHERE = ("vsan://", "vvol://", "objpath:")
_REFUSED: Final = {
    "fulldevice": "a disk of the machine that ran the VM",
    "physicaldisk": "a disk of the machine that ran the VM",
    "partitioneddevice": "partitions of a disk of the machine that ran the VM",
    "vmfsraw": "a raw device",
    "vmfsrdm": "a LUN (RDM)",
    "vmfsrdmp": "a LUN (RDM)",
    "vmfsrawdevicemap": "a LUN (RDM)",
    "vmfspassthroughrawdevicemap": "a LUN (RDM)",
    "vsansparse": "an object of vSAN",
}
"""Kinds of images that hold no data, by their name in lower case, with the place of the data."""


class VmdkSource:
    """A VMDK as a disk; see :class:`vmkeep.model.blockio.DiskSource`. A context manager."""

    transport = "file"

    def __init__(self, image: _Image, opened: ExitStack) -> None:
        self.capacity = image.capacity
        self._image = image
        self._opened = opened

    def __enter__(self) -> VmdkSource:  # noqa: PYI034 - as in images.diskfiles
        """Use as a context manager."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the files of the image and of its parents."""
        self._opened.close()

    def allocated(self) -> Extents:
        """Return the extents that the image or a parent holds."""
        return self._image.allocated()

    def open_reader(
        self, extents: Sequence[Extent], *, piece_size: int, depth: int
    ) -> AbstractContextManager[PieceReader]:
        """Read extents in pieces."""
        return read_pieces(self.read_into, extents, piece_size=piece_size, depth=depth)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the disk's bytes from an offset on. Thread-safe.

        :raises UsageError: the image is damaged there. The message names the file and the byte.
        """
        self._image.read_into(start, buffer)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenExtent:
    """An extent that is open."""

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


class _Image:
    """One image of a chain, over its parent."""

    def __init__(self, extents: Sequence[_OpenExtent], below: _Image | None) -> None:
        self.capacity = extents[-1].start + extents[-1].length
        self._extents = extents
        self._starts = [extent.start for extent in extents]
        self._below = below

    def allocated(self) -> Extents:
        mine = gather(self._stored())
        if self._below is None:
            return mine
        its = align_out(self._below.allocated(), _SECTOR, within=self.capacity)
        return gather(unite(mine, its).pairs())

    def _stored(self) -> Iterator[Pair]:
        for extent in self._extents:
            for start, stop in extent.tables.stored():
                yield extent.start + start, extent.start + stop

    def read_into(self, start: int, buffer: memoryview) -> None:
        stop = start + len(buffer)
        if start < 0 or stop > self.capacity:
            raise ValueError(f"bytes {start} to {stop} are beyond the disk's {self.capacity}")
        at = start
        while at < stop:
            extent = self._extents[bisect_right(self._starts, at) - 1]
            end = min(stop, extent.start + extent.length)
            for part in extent.tables.parts(at - extent.start, end - extent.start):
                left = extent.start + part.start
                self._fill(extent, part, left, buffer[left - start : extent.start + part.stop - start])
            at = end

    def _fill(self, extent: _OpenExtent, part: Part, start: int, buffer: memoryview) -> None:
        if part.kind in (Kind.DATA, Kind.COMPRESSED):
            extent.fill(part, buffer)
            return
        known = 0
        if part.kind is Kind.NOWHERE and self._below is not None:
            known = max(0, min(len(buffer), self._below.capacity - start))
            if known:
                self._below.read_into(start, buffer[:known])
        buffer[known:] = bytes(len(buffer) - known)


def open_vmdk(path: Path, *, file: ImageFile | None = None) -> VmdkSource:
    """Open a VMDK for reading: the file that a person names to open it, with all files that it needs.

    :param file: the image, if it is a disk of an OVF or a part of an archive. It may name no other file then, because
        those would not be of the package.
    :raises NotFoundError: a file is missing.
    :raises UsageError: the image is damaged, it is a piece of another image, or a name leads out of its folder.
    :raises UnsupportedError: the image is of a kind that holds no data, or has a feature that cannot be read.
    """
    with ExitStack() as stack:
        opened = stack.enter_context(file or ImageFile(path))
        if file is not None:
            _require_alone(file)
        image, _ = _open(path, opened, stack, ())
        return VmdkSource(image, stack.pop_all())


def _require_alone(file: ImageFile) -> None:
    """Return if an image names no other file.

    :raises UsageError: it does.
    """
    head = file.read(0, min(file.size, _HEAD))
    if is_descriptor(head):
        raise UsageError(
            f"{file.name}: only describes a disk that lies in other files, and a package holds whole disks"
        )
    if head.startswith(MAGIC) and len(head) == _HEAD:
        inside = read_hosted(file).descriptor
        if inside and parse_descriptor(inside, file.name).parent_id is not None:
            raise UsageError(f"{file.name}: is the child of another disk, and a package holds whole disks")


def _open(
    path: Path, file: ImageFile, stack: ExitStack, above: tuple[tuple[int, int], ...]
) -> tuple[_Image, Descriptor | None]:
    if file.identity in above:
        raise UsageError(f"{file.name}: its parents lead back to itself")
    if len(above) >= _LONGEST_CHAIN:
        raise UsageError(f"{file.name}: has more than {_LONGEST_CHAIN} parents")
    head = file.read(0, min(file.size, _HEAD))
    if head.startswith(MAGIC):
        described, extents = _inside(file, head)
    elif is_descriptor(head):
        described = _read_descriptor(file)
        extents = list(_beside(path, file, described, stack))
    else:
        raise _no_image(file, head)
    below = None
    if described is not None and described.parent_id is not None:
        below = _open_parent(path, file, described, stack, (*above, file.identity))
    return _Image(extents, below), described


def _no_image(file: ImageFile, head: bytes) -> UsageError:
    if head.startswith((COWD_MAGIC, SESPARSE_MAGIC)):
        return UsageError(
            f"{file.name}: is an extent of a snapshot's disk: name the small .vmdk file beside it, which describes it"
        )
    return UsageError(f"{file.name}: is no VMDK: it begins neither with KDMV nor with '# Disk DescriptorFile'")


def _inside(file: ImageFile, head: bytes) -> tuple[Descriptor | None, list[_OpenExtent]]:
    """Open an image that is one sparse extent."""
    if len(head) < _HEAD:
        raise UsageError(f"{file.name}: is cut off: it has {len(head)} bytes, and its header {_HEAD}")
    hosted = read_hosted(file)
    if not hosted.descriptor:
        if not hosted.compressed:
            raise UsageError(
                f"{file.name}: is a piece of an image in several files: name the small .vmdk file that lists them"
            )
        return None, [_sparse(file, hosted, 0, hosted.capacity)]
    described = parse_descriptor(hosted.descriptor, file.name)
    _require_data(file, described)
    if len(described.extents) != 1 or described.extents[0].kind != "SPARSE":
        raise UsageError(f"{file.name}: the descriptor inside names {len(described.extents)} extents, and not itself")
    length = described.extents[0].length
    require_length(file, hosted.capacity, length)
    return described, [_sparse(file, hosted, 0, length)]


def _sparse(file: ImageFile, hosted: HostedHeader, start: int, length: int) -> _OpenExtent:
    tables = open_hosted(file, hosted, length)
    grain = tables.shape.grain
    grains = CompressedGrains(file, grain) if hosted.compressed else None
    return _OpenExtent(start=start, length=length, tables=tables, file=file, grains=grains, grain=grain)


def _read_descriptor(file: ImageFile) -> Descriptor:
    if file.size > LARGEST_DESCRIPTOR:
        raise UsageError(
            f"{file.name}: begins as a descriptor, but has {file.size} bytes, and none has more than"
            f" {LARGEST_DESCRIPTOR}"
        )
    described = parse_descriptor(file.read(0, file.size), file.name)
    _require_data(file, described)
    if not described.extents:
        raise UsageError(f"{file.name}: the descriptor names no extent")
    return described


def _require_data(file: ImageFile, described: Descriptor) -> None:
    where = _REFUSED.get(described.create_type.lower())
    if where is not None:
        raise UnsupportedError(
            f"{file.name}: is of the kind {described.create_type}, so its data is on {where}, and not in a file"
        )


def _beside(path: Path, file: ImageFile, described: Descriptor, stack: ExitStack) -> Iterator[_OpenExtent]:
    """Open the extents that a descriptor names."""
    _require_handles(file, len({extent.file for extent in described.extents}))
    start = 0
    files = _Files(path, file, stack)
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

    def __init__(self, path: Path, image: ImageFile, stack: ExitStack) -> None:
        self._path = path
        self._image = image
        self._stack = stack
        self._files: dict[str, ImageFile] = {}
        self._taken: dict[tuple[int, int], int] = {}

    def open(self, name: str) -> ImageFile:
        """Open a file, or return it if it is open."""
        if name not in self._files:
            self._files[name] = self._stack.enter_context(_open_file(self._path, name, "extent"))
        return self._files[name]

    def take(self, file: ImageFile, start: int, stop: int) -> None:
        """Note the bytes of a file that an extent takes.

        :raises UsageError: another extent has them already.
        """
        if file.identity == self._image.identity or start < self._taken.get(file.identity, 0):
            raise UsageError(f"{self._image.name}: names byte {start} of {file.name} for two things")
        self._taken[file.identity] = stop


def _open_extent(files: _Files, image: ImageFile, extent: DescribedExtent, start: int) -> _OpenExtent:
    if extent.kind == "ZERO":
        return _OpenExtent(start=start, length=extent.length, tables=ZeroTables(), file=None)
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
        return _OpenExtent(start=start, length=extent.length, tables=tables, file=file)
    files.take(file, 0, max(1, file.size))
    head = file.read(0, min(file.size, _HEAD))
    if head.startswith(MAGIC) and len(head) == _HEAD:
        hosted = read_hosted(file)
        require_length(file, hosted.capacity, extent.length)
        return _sparse(file, hosted, start, extent.length)
    opened = (open_sesparse if extent.kind == "SESPARSE" else open_cowd)(file, extent.length)
    return _OpenExtent(start=start, length=extent.length, tables=opened, file=file)


def _open_file(path: Path, name: str, what: str) -> ImageFile:
    """Open a regular file beside the image, and nothing else, because a descriptor of a stranger could name a disk."""
    found = neighbour(path, name, what=what)
    if not found.is_file():
        raise UsageError(f"{path}: its {what} {name[:200]!r} is no file")
    return ImageFile(found)


def _open_parent(
    path: Path, file: ImageFile, described: Descriptor, stack: ExitStack, above: tuple[tuple[int, int], ...]
) -> _Image:
    parent = stack.enter_context(_open_file(path, described.parent, "parent"))
    image, its = _open(parent.path, parent, stack, above)
    if its is None or its.content_id != described.parent_id:
        found = "none" if its is None else f"{its.content_id:08x}"
        raise UsageError(
            f"{file.name}: its parent {parent.name} has changed since: it should have the content id (CID)"
            f" {described.parent_id:08x}, and has {found}; together they are not the disk that they were"
        )
    return image
