"""Reads a VMDK, and the parents beside it, as one disk."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.openfiles import OpenFiles
from vmkeep.formats.reading import ImageSource
from vmkeep.formats.vmdk.descriptor import (
    LARGEST_DESCRIPTOR,
    Descriptor,
    is_descriptor,
    parse_descriptor,
)
from vmkeep.formats.vmdk.extents import COWD_MAGIC, SESPARSE_MAGIC, require_length
from vmkeep.formats.vmdk.grains import Kind, Part
from vmkeep.formats.vmdk.header import MAGIC
from vmkeep.formats.vmdk.hosted import read_hosted
from vmkeep.formats.vmdk.openextents import OpenExtent, open_beside, open_file, sparse_extent
from vmkeep.model.extents import Extents, Pair, align_out, gather, unite

_LONGEST_CHAIN = 64
_HEAD = 512
_SECTOR = 512
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


class _Image:
    """One image of a chain, over its parent."""

    def __init__(self, extents: Sequence[OpenExtent], below: _Image | None) -> None:
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

    def _fill(self, extent: OpenExtent, part: Part, start: int, buffer: memoryview) -> None:
        if part.kind in (Kind.DATA, Kind.COMPRESSED):
            extent.fill(part, buffer)
            return
        known = 0
        if part.kind is Kind.NOWHERE and self._below is not None:
            known = max(0, min(len(buffer), self._below.capacity - start))
            if known:
                self._below.read_into(start, buffer[:known])
        buffer[known:] = bytes(len(buffer) - known)


def open_vmdk(path: Path, *, file: ImageFile | None = None) -> ImageSource:
    """Open a VMDK for reading: the file that a person names to open it, with all files that it needs.

    :param file: the image, if it is a disk of an OVF or a part of an archive. It may name no other file then, because
        those would not be of the package.
    :raises NotFoundError: a file is missing.
    :raises UsageError: the image is damaged, it is a piece of another image, or a name leads out of its folder.
    :raises UnsupportedError: the image is of a kind that holds no data, or has a feature that cannot be read.
    """
    with OpenFiles() as opened:
        first = opened.add(file or ImageFile(path))
        if file is not None:
            _require_alone(file)
        image, _ = _open(path, first, opened, ())
        return ImageSource(image, opened)


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
    path: Path, file: ImageFile, opened: OpenFiles, above: tuple[tuple[int, int], ...]
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
        extents = list(open_beside(path, file, described, opened))
    else:
        raise _no_image(file, head)
    below = None
    if described is not None and described.parent_id is not None:
        below = _open_parent(path, file, described, opened, (*above, file.identity))
    return _Image(extents, below), described


def _no_image(file: ImageFile, head: bytes) -> UsageError:
    if head.startswith((COWD_MAGIC, SESPARSE_MAGIC)):
        return UsageError(
            f"{file.name}: is an extent of a snapshot's disk: name the small .vmdk file beside it, which describes it"
        )
    return UsageError(f"{file.name}: is no VMDK: it begins neither with KDMV nor with '# Disk DescriptorFile'")


def _inside(file: ImageFile, head: bytes) -> tuple[Descriptor | None, list[OpenExtent]]:
    """Open an image that is one sparse extent."""
    if len(head) < _HEAD:
        raise UsageError(f"{file.name}: is cut off: it has {len(head)} bytes, and its header {_HEAD}")
    hosted = read_hosted(file)
    if not hosted.descriptor:
        if not hosted.compressed:
            raise UsageError(
                f"{file.name}: is a piece of an image in several files: name the small .vmdk file that lists them"
            )
        return None, [sparse_extent(file, hosted, 0, hosted.capacity)]
    described = parse_descriptor(hosted.descriptor, file.name)
    _require_data(file, described)
    if len(described.extents) != 1 or described.extents[0].kind != "SPARSE":
        raise UsageError(f"{file.name}: the descriptor inside names {len(described.extents)} extents, and not itself")
    length = described.extents[0].length
    require_length(file, hosted.capacity, length)
    return described, [sparse_extent(file, hosted, 0, length)]


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


def _open_parent(
    path: Path, file: ImageFile, described: Descriptor, opened: OpenFiles, above: tuple[tuple[int, int], ...]
) -> _Image:
    parent = opened.add(open_file(path, described.parent, "parent"))
    image, its = _open(parent.path, parent, opened, above)
    if its is None or its.content_id != described.parent_id:
        found = "none" if its is None else f"{its.content_id:08x}"
        raise UsageError(
            f"{file.name}: its parent {parent.name} has changed since: it should have the content id (CID)"
            f" {described.parent_id:08x}, and has {found}; together they are not the disk that they were"
        )
    return image
